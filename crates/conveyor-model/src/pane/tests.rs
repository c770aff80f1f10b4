//! Recorded screens and what they are.
