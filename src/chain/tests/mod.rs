//! The chain from outside: blocks, trades, branches and restarts, on redb in memory.

mod blocks;
mod branches;
mod diverged;
mod histories;
mod thread;
mod trades;
