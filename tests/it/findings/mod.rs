//! Programs with a mistake that only `registry::check` can see, one in each file. The page of mistakes
//! shows them, with what the check says.
#![allow(dead_code, reason = "the check needs no calls")]

mod a_duration_and_a_number;
mod a_list_and_a_set;
mod a_list_and_one_value;
mod a_map_and_a_list;
mod a_tag_that_nothing_invalidates;
mod an_option_of_a_list;
mod another_cache;
mod another_field;
mod another_method;
mod another_order;
mod another_type;
mod no_such_key;
mod one_name_for_two_types;
mod other_tags;
mod two_schema_versions;
mod two_types_of_values;
