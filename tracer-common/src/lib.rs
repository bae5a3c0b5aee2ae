//! What both halves agree on.
#![no_std]
