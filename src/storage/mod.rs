//! `storage` keeps files safe for the modules above: private files, backups of them, read-only
//! databases, and errors in place of panics on damaged ones. It also has a simulated disk for crash
//! tests.

pub(crate) mod bundle;
mod contain;
pub(crate) mod crash;
pub(crate) mod frozen;
pub(crate) mod leaves;
mod private;

pub(crate) use contain::contain;
pub(crate) use private::{
    DanglingLink, copy_private, create_folder, create_private, create_private_folder,
    dangling_link, give_to_owner_of_folder, make_private, place_new, prepare_private,
    private_options, real_place, take_place, unfinished_private, write_private,
};
