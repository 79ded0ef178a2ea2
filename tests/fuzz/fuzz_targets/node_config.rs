//! The node's configuration file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use truc_node::config::{NodeConfig, parse_duration, parse_size};

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/truc/node.toml");
    match NodeConfig::parse(text, path) {
        Ok(config) => {
            let written = config.to_toml();
            let again = NodeConfig::parse(&written, path).unwrap_or_else(|e| panic!("{e}\n{written}"));
            assert_eq!(again, config, "{written}");
        }
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
    let _ = (parse_duration(text), parse_size(text));
});
