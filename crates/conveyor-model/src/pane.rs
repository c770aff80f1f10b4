//! What a screen shows.
