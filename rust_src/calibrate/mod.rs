//! From labelled queries to the budget path: what every cost weight would cost and bring, in one sweep.

mod index_profile;
mod profile;

pub use profile::{Piece, ProfiledRule};
