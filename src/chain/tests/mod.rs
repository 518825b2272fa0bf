//! The chain from outside: blocks, trades, branches and restarts, on redb in memory.

mod blocks;
mod branches;
mod crash;
mod damage;
mod histories;
mod thread;
mod trades;
