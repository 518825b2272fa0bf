//! Commands ask the node over the RPC and print its answer, for the command line and the console.

pub(crate) mod answer;
pub(crate) mod args;
pub(crate) mod bar;
mod chain;
mod chat;
pub(crate) mod chat_text;
pub(crate) mod execute;
mod friends;
mod grouped;
mod network;
pub(crate) mod outcome;
pub(crate) mod parse;
pub(crate) mod prepare;
pub(crate) mod print_chain;
pub(crate) mod progress;
mod proof_file;
pub(crate) mod proofs;
pub(crate) mod secrets;
mod session;
pub(crate) mod table;
pub(crate) mod text;
mod transactions;
mod wallet;
