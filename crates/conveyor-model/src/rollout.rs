//! Records of a rollout.
