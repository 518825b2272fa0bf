//! Keeps files safe for the rooms above: private files, read-only databases, and panics of a
//! damaged database.

mod contain;
pub(crate) mod frozen;
pub(crate) mod leaves;
mod private;

pub(crate) use contain::contain;
pub(crate) use private::{
    create_private, create_private_folder, give_to_owner_of_folder, make_private, private_options,
    sync_folder, write_private,
};
