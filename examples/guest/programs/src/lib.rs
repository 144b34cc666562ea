#![no_std]

pub mod work;
