//! Where the parts of a screen are.
