//! WHIR.
