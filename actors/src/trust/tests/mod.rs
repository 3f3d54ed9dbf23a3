//! What a verifier is promised: rules, caches and their ages, and what happens when others cannot be reached.

mod documents;
mod lists;
mod presentations;
mod rules;
mod scene;
mod schemas;
mod tokens;
