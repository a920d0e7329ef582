//! Text of nginx turned into event data. Pure: opens no file.

pub mod access;
pub mod backend;
pub mod category;
pub mod conf;
pub mod debug;
pub mod dump;
pub mod error;
pub mod frame;
pub mod glob;
pub mod ignores;
pub mod remarks;
pub mod resolve;
pub mod version;
