//! One file for each format: they show the report and compute nothing.

pub mod flame;
pub mod json;
mod table;
pub mod text;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
