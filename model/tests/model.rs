//! The promises hold, and each rule is needed.
//!
//! `cargo test -p cache-model -- --nocapture` prints how many states there are.

use cache_model::batch::{self, Batch};
use cache_model::front::{self, Front};
use cache_model::local::{self, Local};
use cache_model::nested::{self, Nested};
use cache_model::search::{Model, explore};
use cache_model::shared::{self, Shared, configurations};

/// Every promise holds in every state of these models.
#[track_caller]
fn all_hold<M: Model>(models: impl Iterator<Item = (&'static str, M)>) {
    println!("    states | steps | configuration");
    for (name, model) in models {
        match explore(&model) {
            Ok(all) => println!("{:10} | {:5} | {name}", all.states, all.depth),
            Err(found) => panic!("{name}: {found}"),
        }
    }
}

/// With all rules the promises hold, and without any one of them a promise is broken. Each item
/// is a rule's name and sentence, the model with all rules, and the model without this one.
#[track_caller]
fn each_is_needed<M: Model>(rules: impl Iterator<Item = (String, &'static str, M, M)>) {
    println!("    states |     until | steps | without this rule");
    let mut failures = Vec::new();
    for (rule, sentence, whole, without) in rules {
        let whole = match explore(&whole) {
            Ok(whole) => whole.states,
            Err(found) => {
                failures.push(format!("{rule}, with all rules: {found}"));
                continue;
            }
        };
        match explore(&without) {
            Err(found) => println!(
                "{whole:10} | {:9} | {:5} | {rule}: {sentence} Without: {}",
                found.states,
                found.trace.len(),
                found.what,
            ),
            Ok(all) => failures.push(format!(
                "{rule}: no promise is broken without it, in {} states",
                all.states
            )),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The models for each rule: with all rules, and without it.
macro_rules! rules {
    ($model:ident in $module:ident) => {
        $module::rules::Without::ALL.iter().map(|&rule| {
            let with = |without| $model {
                config: rule.config(),
                without,
            };
            (
                format!("{rule:?}"),
                rule.sentence(),
                with(None),
                with(Some(rule)),
            )
        })
    };
}

fn shared(
    configurations: Vec<shared::config::Config>,
) -> impl Iterator<Item = (&'static str, Shared)> {
    configurations.into_iter().map(|config| {
        let without = None;
        (config.name, Shared { config, without })
    })
}

#[test]
fn the_shared_tier_keeps_its_promises() {
    all_hold(shared(configurations::small()));
}

#[test]
#[ignore = "takes minutes; `cargo xtask model` runs it"]
fn the_shared_tier_keeps_its_promises_in_large_configurations() {
    all_hold(shared(configurations::large()));
}

#[test]
fn each_rule_of_the_shared_tier_is_needed() {
    each_is_needed(rules!(Shared in shared));
}

#[test]
fn the_local_tier_keeps_its_promises() {
    all_hold(local::configurations().into_iter().map(|config| {
        let without = None;
        (config.name, Local { config, without })
    }));
}

#[test]
fn each_rule_of_the_local_tier_is_needed() {
    each_is_needed(rules!(Local in local));
}

#[test]
fn a_local_tier_in_front_keeps_its_promises() {
    all_hold(front::configurations().into_iter().map(|config| {
        let without = None;
        (config.name, Front { config, without })
    }));
}

#[test]
fn each_rule_of_a_local_tier_in_front_is_needed() {
    each_is_needed(rules!(Front in front));
}

#[test]
fn calls_inside_of_loads_keep_their_promises() {
    all_hold(nested::configurations().into_iter().map(|config| {
        let without = None;
        (config.name, Nested { config, without })
    }));
}

#[test]
fn calls_inside_of_loads_keep_their_promises_in_every_shape() {
    let configurations = nested::every_shape();
    let (count, mut states) = (configurations.len(), 0);
    for config in configurations {
        let without = None;
        match explore(&Nested { config, without }) {
            Ok(all) => states += all.states,
            Err(found) => panic!("{found}"),
        }
    }
    println!("{states} states in {count} configurations");
}

#[test]
fn each_rule_of_calls_inside_of_loads_is_needed() {
    each_is_needed(rules!(Nested in nested));
}

#[test]
fn calls_for_several_keys_keep_their_promises() {
    all_hold(batch::configurations().into_iter().map(|config| {
        let without = None;
        (config.name, Batch { config, without })
    }));
}

#[test]
fn calls_for_several_keys_keep_their_promises_in_every_shape() {
    let configurations = batch::every_shape();
    let (count, mut states) = (configurations.len(), 0);
    for config in configurations {
        let without = None;
        match explore(&Batch { config, without }) {
            Ok(all) => states += all.states,
            Err(found) => panic!("{found}"),
        }
    }
    println!("{states} states in {count} configurations");
}

#[test]
fn each_rule_of_calls_for_several_keys_is_needed() {
    each_is_needed(rules!(Batch in batch));
}
