//! Keeps files safe for the rooms above: private files, bundles of them, read-only databases,
//! panics of a damaged database, and a disk in memory that crashes.

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
