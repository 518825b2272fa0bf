//! Runs the fuzz targets on their stored inputs, on any toolchain.

use std::{fs, path::Path};

/// Runs a target on each of its stored inputs.
fn run_all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the target's corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("an input");
        println!("{}", path.display()); // the test harness shows it if the input fails
        run(&data);
        count += 1;
    }
    assert!(count > 0, "no input is kept in {}", folder.display());
}

macro_rules! targets {
    ($($test:ident: $target:ident;)+) => {$(
        #[test]
        fn $test() {
            run_all(stringify!($target), super::$target);
        }
    )+};
}

targets! {
    kept_layouts_have_one_encoding: consensus_layouts;
    kept_messages_have_one_encoding: wire_messages;
    kept_texts_read_as_they_print: texts;
    kept_records_are_read_or_refused: stored_records;
    kept_headers_are_judged_as_the_rules_say: accept_headers;
    kept_blocks_leave_the_chain_whole: accept_block;
}
