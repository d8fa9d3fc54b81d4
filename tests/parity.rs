//! Every item of the plugin API that this version has is named by a test, and that test exists.
//!
//! `parity.tsv` is the list of items: kind, owner and name, in the order of bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Kind, owner, names, and the tests that cover them: Rust functions or cases of the Lua files.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// Every item of the API.
const ITEMS: &str = include_str!("parity.tsv");

const COVERED: &[Row] = &[
    // engine
    ("method", "engine", "update_counter", "update_counter_adds_one_update example_2_metering_through_two_buckets"),
    ("method", "engine", "update_counter_raw", "update_counter_raw_is_update_counter"),
    ("method", "engine", "update_counter_bytes", "update_counter_bytes_adds_the_wire_length"),
    ("method", "engine", "update_key_info", "update_key_info_sets_label_and_description"),
    ("method", "engine", "set_key_attribute", "set_key_attribute_stores_text"),
    ("method", "engine", "add_alert", "add_alert_with_and_without_a_flow"),
    ("method", "engine", "add_alert_full add_alert_ids", "add_alert_full_and_its_alias"),
    ("method", "engine", "add_alert_tca", "add_alert_tca_has_no_flow"),
    ("method", "engine", "add_resource", "add_resource_with_contents_cut_to_32767_bytes"),
    (
        "method",
        "engine",
        "add_flow_counter reset_flow_counter",
        "add_flow_counter_and_reset_flow_counter flow_counters_count_from_their_packet_on_by_direction",
    ),
    ("method", "engine", "tag_flow", "tag_flow_replaces_separators_and_ends_at_nul a_tag_waits_for_its_flow"),
    (
        "method",
        "engine",
        "update_flow update_flow_raw new_flow_record set_flow_duration",
        "flow_updates_and_durations update_flow_adds_to_the_record_and_creates_unknown_flows",
    ),
    (
        "method",
        "engine",
        "terminate_flow disable_reassembly",
        "terminate_flow_and_disable_reassembly terminate_flow_ends_the_flow_now disable_reassembly_is_for_the_calling_script_alone",
    ),
    (
        "method",
        "engine",
        "add_flow_attribute",
        "add_flow_attribute_keeps_any_byte an_attribute_is_announced_once_by_the_engine_that_has_the_flow",
    ),
    ("method", "engine", "add_edge add_flow_edges", "edges_accept_any_guid_and_no_nil_key edges_can_be_switched_off"),
    (
        "method",
        "engine",
        "post_message_frontend",
        "the_subscription_table_decides_what_is_delivered example_5_messages",
    ),
    (
        "method",
        "engine",
        "post_message_backend",
        "post_message_backend_is_recorded messages_go_between_the_sides_both_ways_and_to_their_own_side",
    ),
    ("method", "engine", "timestamp", "timestamp_is_that_of_the_latest_packet"),
    ("method", "engine", "instanceid id probeid", "instanceid_id_and_probeid each_vm_has_an_instanceid_of_its_own"),
    // Packet
    ("method", "Packet", "timestamp", "packet_timestamp_is_seconds_and_microseconds"),
    ("method", "Packet", "wire_length capture_length", "packet_wire_length_and_capture_length"),
    ("method", "Packet", "rawbytes", "packet_rawbytes_are_all_captured_bytes"),
    ("method", "Packet", "num_layers", "packet_num_layers"),
    ("method", "Packet", "get_layer", "packet_get_layer_counts_from_zero packet_get_layer_outside_is_nil"),
    ("method", "Packet", "find_layer", "packet_find_layer_by_guid_in_any_case find_layer_gives_the_outermost"),
    ("method", "Packet", "flowid", "packet_flowid_is_a_new_equal_value flowid_of_a_packet_that_is_not_ip"),
    ("method", "Packet", "originid", "originid_is_the_index_of_the_file"),
    ("method", "Packet", "set_timestamp", "set_timestamp_changes_what_later_scripts_see_of_the_packet"),
    ("method", "Packet", "set_packet", "set_packet_is_for_input_filters step_builds_packets_until_it_says_false"),
    ("method", "Packet", "set_packetstore_policy", "packet_set_packetstore_policy_accepts_hints"),
    // Layer
    ("method", "Layer", "layer_bytes", "layer_bytes_of_headers"),
    ("method", "Layer", "total_bytes", "layer_total_bytes_is_the_wire_length"),
    ("method", "Layer", "protocol_id", "layer_protocol_id_is_in_normal_form"),
    ("method", "Layer", "rawbytes", "layer_rawbytes_covers_the_layer_only"),
    ("method", "Layer", "packet", "layer_packet_is_the_packet"),
    ("method", "Layer", "getbyte", "layer_getbyte_reads_bytes_and_zero_outside"),
    ("method", "Layer", "testbit", "layer_testbit_counts_from_the_most_significant_bit layer_testbit_outside_is_false"),
    ("method", "Layer", "flowkey", "layer_flowkey_is_the_id_of_the_packets_flow"),
    // Buffer
    ("method", "Buffer", "size length", "buffer_size_and_length"),
    (
        "method",
        "Buffer",
        "hval_8 hval_16",
        "buffer_hval_reads_big_endian_numbers buffer_hval_8_and_16_past_the_end_read_zero",
    ),
    (
        "method",
        "Buffer",
        "hval_24 hval_32",
        "buffer_hval_reads_big_endian_numbers buffer_hval_24_and_32_past_the_end_read_zero",
    ),
    ("method", "Buffer", "tostring", "buffer_tostring_whole_part_and_clipped buffer_tostring_of_numbers_that_are_none"),
    ("method", "Buffer", "hexdump", "buffer_hexdump_has_lines_of_sixteen"),
    ("method", "Buffer", "appendtofile writetofile", "buffers_are_appended_and_written_to_files"),
    // Strings used as buffers
    ("method", "string", "tostring size length", "string_tostring_size_and_length"),
    ("method", "string", "hval_8 hval_16 hval_24 hval_32", "string_hval_8_16_24_32"),
    ("method", "string", "hexdump", "string_hexdump"),
    ("method", "string", "appendtofile writetofile", "buffers_are_appended_and_written_to_files"),
    // FlowID
    (
        "method",
        "FlowID",
        "id key flow_type protocol ipa ipz ipa_readable ipz_readable",
        "flowid_methods_of_type_a flowid_methods_of_type_b",
    ),
    ("method", "FlowID", "porta portz porta_readable portz_readable", "flowid_methods_of_type_a"),
    (
        "method",
        "FlowID",
        "to_s",
        "flowid_methods_of_type_a to_s_names_known_protocols to_s_of_other_protocols_is_their_number",
    ),
    (
        "method",
        "FlowID",
        "netflow_router netflow_router_readable",
        "flowid_netflow_methods_of_type_a_are_empty flow_ids_of_exporters_tell_router_and_interfaces",
    ),
    (
        "method",
        "FlowID",
        "netflow_ifindex_in netflow_ifindex_out",
        "flowid_netflow_methods_of_type_a_are_empty flow_ids_of_exporters_tell_router_and_interfaces",
    ),
    (
        "method",
        "FlowID",
        "netflow_ifindex_in_readable netflow_ifindex_out_readable",
        "flowid_netflow_methods_of_type_a_are_empty flow_ids_of_exporters_tell_router_and_interfaces",
    ),
    // re2 and ac
    ("method", "re2", "partial_match full_match", "re2_partial_match_and_full_match an_invalid_pattern_never_matches"),
    ("method", "re2", "partial_match_c1 partial_match_c2", "re2_partial_match_c1_and_c2"),
    ("method", "re2", "partial_match_n", "re2_partial_match_n_with_many_groups"),
    ("method", "re2", "full_match_n", "re2_full_match_n"),
    ("method", "ac", "match_all", "ac_match_all_reports_first_occurrences"),
    ("method", "ac", "match_one", "ac_match_one_reports_what_ends_first"),
    // T
    ("function", "T", "re2 ac", "t_re2_and_t_ac_make_objects re2_options"),
    ("function", "T", "log logerror logwarning loginfo logdebug", "log_levels_and_prefixes"),
    (
        "field",
        "T",
        "contextid execution_contextid probeid probeversion context_name contextname enginetype",
        "t_identity_fields",
    ),
    ("field", "T", "args", "t_identity_fields args_are_empty_without_the_option"),
    (
        "field",
        "T",
        "countergroups alertgroups resourcegroups ftsgroups sessiongroups backend_engineid monitor_group_name monitor_group_guid",
        "group_tables_exist_while_probing_and_not_on_the_frontend the_group_tables_and_identity_of_the_backend \
         monitors_are_bound_by_guid_function_name_and_pattern_with_one_vm_for_each_group",
    ),
    ("constant", "T.K.loglevel", "EMERG FATAL ALERT CRIT ERROR WARN NOTICE INFO DEBUG", "t_k_loglevel"),
    (
        "constant",
        "T.K.vartype",
        "COUNTER RATE_COUNTER GAUGE RUNNING_COUNTER AVERAGE DELTA_RATE_COUNTER MAXIMUM MINIMUM",
        "t_k_vartype vartypes_combine_updates_as_stated negative_updates_and_counter_resets",
    ),
    ("function", "T.util", "ntop pton", "t_util_ntop_and_pton"),
    ("function", "T.util", "bor band", "t_util_bor_and_band"),
    ("function", "T.util", "testbit32 bitval32", "t_util_testbit32_and_bitval32"),
    ("function", "T.util", "split splitm", "t_util_split_and_splitm"),
    ("function", "T.util", "hash", "t_util_hash"),
    ("function", "T.util", "bin2hex hex2bin", "t_util_bin2hex_and_hex2bin"),
    ("function", "T.host", "is_homenet", "t_host_is_homenet home_networks_can_be_replaced"),
    ("function", "T.host", "is_homenet_key", "t_host_is_homenet_key"),
    ("function", "T.host", "get_homenets get_configpath get_datapath", "t_host_paths_and_homenets"),
    ("function", "T.host", "id", "t_host_id_is_the_engines"),
    ("function", "T.host", "createkey", "createkey_works_without_an_engine"),
    ("function", "T.host", "prepare_config", "prepare_config_copies_the_template_once"),
    ("function", "T.host", "broadcast", "broadcast_reaches_the_listeners_of_a_class_in_every_vm_of_the_file"),
    ("function", "T.host", "log", "log_levels_and_prefixes"),
    ("function", "T.env", "get_config", "t_env_get_config"),
    ("function", "T.env", "get_domain_config", "t_env_domain_and_config_files"),
    ("field", "T.env", "configfile domain_configfile", "t_env_domain_and_config_files"),
    (
        "function",
        "T.async",
        "cat copy cp rm copybuffer",
        "cat_copy_cp_rm_and_copybuffer operations_on_one_file_keep_their_order_with_several_workers",
    ),
    (
        "function",
        "T.async",
        "schedule",
        "example_6_async schedule_wants_a_table_with_onexecute upvalues_travel_by_value",
    ),
    ("function", "T.async", "pending_items", "pending_items_counts_what_is_not_delivered"),
    ("field", "T.async.schedule", "data", "data_is_converted_and_copied_at_the_call"),
    (
        "callback",
        "T.async.schedule",
        "onexecute",
        "results_that_are_no_text_are_not_delivered the_async_vm_has_t_without_an_engine_and_keeps_its_globals",
    ),
    (
        "callback",
        "T.async.schedule",
        "onresult",
        "onresult_works_with_the_engine_and_has_no_packet an_error_in_onresult_does_not_stop_the_others",
    ),
    // TrisulPlugin
    ("field", "TrisulPlugin", "id", "every_field_of_id_and_its_default a_missing_id_is_a_warning"),
    (
        "field",
        "TrisulPlugin.id",
        "name description author version_major version_minor",
        "every_field_of_id_and_its_default",
    ),
    ("field", "TrisulPlugin.id", "clsid", "broadcast_reaches_the_listeners_of_a_class_in_every_vm_of_the_file"),
    ("field", "TrisulPlugin", "message_subscriptions", "the_subscription_table_decides_what_is_delivered"),
    ("field", "TrisulPlugin", "request_async_workers", "operations_on_one_file_keep_their_order_with_several_workers"),
    ("callback", "TrisulPlugin", "onload onunload", "the_life_of_a_vm onload_false_unloads_and_anything_else_does_not"),
    ("callback", "TrisulPlugin", "onmessage", "a_message_arrives_before_the_next_packet_whatever_the_order_of_scripts"),
    ("field", "TrisulPlugin", "countergroup", "a_counter_group_with_all_its_fields"),
    ("field", "TrisulPlugin", "resourcegroup alertgroup", "other_spellings_and_missing_descriptions_of_definitions"),
    ("field", "TrisulPlugin", "protocol_handler", "parselayer_answers_and_their_layers"),
    ("field", "TrisulPlugin", "simplecounter", "simplecounter_is_called_once_per_packet_that_has_the_layer"),
    (
        "field",
        "TrisulPlugin",
        "inputfilter",
        "step_builds_packets_until_it_says_false an_input_filter_is_not_used_for_ordinary_runs",
    ),
    ("field", "TrisulPlugin", "channellistener", "a_listener_shares_the_state_of_its_file"),
    ("field", "TrisulPlugin", "engine_monitor", "engine_monitor_sees_every_window_and_the_last_one_at_the_end"),
    ("field", "TrisulPlugin", "cg_monitor", "example_2_in_the_flush"),
    ("field", "TrisulPlugin", "sg_monitor", "a_flow_is_announced_updated_ended_and_flushed_once"),
    ("field", "TrisulPlugin", "alert_monitor", "what_alert_callbacks_change_is_what_is_flushed"),
    ("field", "TrisulPlugin", "resource_monitor", "resources_have_their_fields_and_setters example_4_votes"),
    ("field", "TrisulPlugin", "fts_monitor", "documents_have_their_fields"),
    ("field", "TrisulPlugin", "flowtracker", "a_tracker_keeps_the_flows_with_the_largest_metrics"),
    // Backend blocks
    (
        "callback",
        "engine_monitor",
        "onbeginflush onendflush",
        "engine_monitor_sees_every_window_and_the_last_one_at_the_end",
    ),
    (
        "callback",
        "engine_monitor",
        "onmetronome",
        "ticks_count_from_one_and_flushes_come_before_the_tick_of_their_second \
         gaps_of_more_than_a_minute_are_skipped_in_one_step",
    ),
    (
        "field",
        "cg_monitor",
        "counter_guid counter_name_match counter_name_regex",
        "monitors_are_bound_by_guid_function_name_and_pattern_with_one_vm_for_each_group \
         a_monitor_that_is_bound_to_nothing_is_not_loaded",
    ),
    ("callback", "cg_monitor", "onbeginflush onflush onendflush", "example_2_in_the_flush"),
    (
        "callback",
        "cg_monitor",
        "onflushfilter",
        "a_flush_filter_drops_what_every_script_votes_against overrides_replace_values_for_the_sink_and_for_onflush",
    ),
    (
        "callback",
        "cg_monitor",
        "onbegintopperflush ontopperflushfilter ontopperflush onendtopperflush",
        "toppers_come_largest_first_when_their_interval_ends onbegintopperflush_false_silences_the_toppers_but_writes_them",
    ),
    (
        "callback",
        "cg_monitor",
        "onupdate",
        "onupdate_tells_each_key_touched_in_a_second_with_its_sums_so_far \
         onupdate_with_key_in_front_of_the_time_is_called_that_way",
    ),
    ("callback", "cg_monitor", "onnewkey", "new_keys_are_announced_once_before_they_are_flushed_and_totals_never"),
    ("callback", "cg_monitor", "onmetronome", "onupdate_tells_each_key_touched_in_a_second_with_its_sums_so_far"),
    (
        "field",
        "sg_monitor",
        "session_guid",
        "a_session_group_without_flows_is_attached_and_silent_and_an_unknown_one_is_not",
    ),
    (
        "callback",
        "sg_monitor",
        "onnewflow onupdate onterminate onbeginflush flushfilter onflush onendflush onmetronome",
        "a_flow_is_announced_updated_ended_and_flushed_once",
    ),
    (
        "field",
        "alert_monitor",
        "alert_guid alert_name_match alert_name_regex",
        "alerts_have_their_fields_and_ends what_alert_callbacks_change_is_what_is_flushed",
    ),
    (
        "callback",
        "alert_monitor",
        "onnewalert onbeginflush flushfilter onflush onendflush onmetronome",
        "what_alert_callbacks_change_is_what_is_flushed",
    ),
    ("field", "resource_monitor", "resource_guid", "resources_have_their_fields_and_setters"),
    (
        "callback",
        "resource_monitor",
        "onnewresource onbeginflush flushfilter onflush onendflush onmetronome",
        "resources_have_their_fields_and_setters example_4_votes",
    ),
    ("field", "fts_monitor", "fts_guid", "documents_have_their_fields"),
    (
        "callback",
        "fts_monitor",
        "onnewfts onbeginflush flushfilter onflush onendflush onmetronome",
        "documents_have_their_fields",
    ),
    ("field", "flowtracker", "control", "a_tracker_keeps_the_flows_with_the_largest_metrics"),
    (
        "field",
        "flowtracker.control",
        "name description bucketsize count",
        "a_tracker_keeps_the_flows_with_the_largest_metrics trackers_are_cleared_at_the_end_of_their_interval",
    ),
    (
        "callback",
        "flowtracker",
        "getmetric onbeginflush onendflush onmetronome",
        "metrics_that_are_none_are_not_tracked trackers_are_cleared_at_the_end_of_their_interval",
    ),
    // Backend objects
    (
        "method",
        "Alert",
        "timestamp flow source_ip source_port destination_ip destination_port sigid classification priority message \
         extra_message status ack_flag",
        "alerts_have_their_fields_and_ends input_alerts_bring_their_own_ends",
    ),
    (
        "method",
        "Alert",
        "set_priority set_message set_extra_message",
        "what_alert_callbacks_change_is_what_is_flushed an_object_used_after_its_callback_is_stale",
    ),
    (
        "method",
        "Resource",
        "timestamp flow source_ip source_port destination_ip destination_port uri label set_uri set_label",
        "resources_have_their_fields_and_setters a_resource_without_a_flow_has_the_flow_of_zeros",
    ),
    ("method", "FTS", "timestamp key flow text", "documents_have_their_fields"),
    (
        "method",
        "Flow",
        "key flow time_window state az_bytes za_bytes az_packets za_packets az_payload_bytes za_payload_bytes setup_rtt \
         retransmissions",
        "a_flow_is_announced_updated_ended_and_flushed_once flows_that_go_on_are_flushed_every_five_minutes_with_all_they_have",
    ),
    (
        "method",
        "Flow",
        "tags add_tag",
        "tags_given_in_the_flush_are_in_the_record a_tag_given_while_the_flow_goes_on_stays_with_it",
    ),
    ("field", "TrisulPlugin", "reassembly_handler", "example_3_reassembly a_block_without_callbacks_is_said_once"),
    (
        "field",
        "TrisulPlugin",
        "filex_monitor",
        "callbacks_of_filex_monitor_come_in_order_with_the_time_of_their_packet \
         without_the_setting_the_block_is_loaded_and_never_called",
    ),
    ("field", "TrisulPlugin", "flowmonitor", "flowmonitor_gets_flow_before_timestamp_and_every_flow"),
    ("field", "TrisulPlugin", "messagemonitor", "onflowmetric_reports_round_trip_and_retransmissions_only"),
    ("field", "TrisulPlugin", "packet_storage", "the_most_liberal_opinion_wins"),
    // HTTPHeader
    (
        "method",
        "HTTPHeader",
        "is_request is_response get_method is_method get_path get_status get_value get_all_headers match_value",
        "httpheader_methods an_httpheader_is_stale_after_its_callback \
         a_response_without_a_request_has_an_empty_request_header",
    ),
    // Blocks that hear of flows
    (
        "callback",
        "filex_monitor",
        "filter_flow onterminateflow",
        "filter_flow_votes_are_individual callbacks_of_filex_monitor_come_in_order_with_the_time_of_their_packet \
         flows_that_are_not_http_end_without_a_callback",
    ),
    (
        "callback",
        "filex_monitor",
        "filter",
        "a_no_to_a_header_is_individual_and_one_to_a_request_is_for_both_bodies informational_responses_are_not_reported",
    ),
    (
        "callback",
        "filex_monitor",
        "onpayload_raw",
        "raw_bytes_before_recognition_come_first_and_other_protocols_have_none",
    ),
    (
        "callback",
        "filex_monitor",
        "onpayload_http",
        "bodies_are_decoded_and_end_with_an_empty_buffer content_ends_early_at_a_hole in_streaming_mode_nothing_is_written",
    ),
    (
        "callback",
        "filex_monitor",
        "onfile_http",
        "larger_files_come_in_chunks_of_the_size_set \
         a_file_outlives_its_callback_until_async_items_have_ended_and_is_deleted_then",
    ),
    (
        "callback",
        "reassembly_handler",
        "filter",
        "a_no_is_individual_and_everything_else_is_a_yes nothing_but_tcp_is_filtered",
    ),
    (
        "callback",
        "reassembly_handler",
        "onnewflow onattribute",
        "callbacks_of_a_flow_come_in_order_with_the_time_of_their_packet \
         onattribute_knows_the_older_order_of_parameters_by_their_names attributes_of_scripts_are_announced_to_all_after_the_callback",
    ),
    (
        "callback",
        "reassembly_handler",
        "onpayload",
        "example_3_reassembly segments_are_not_merged retransmitted_bytes_are_delivered_once a_hole_is_skipped_at_the_end_of_the_flow",
    ),
    (
        "callback",
        "reassembly_handler",
        "onterminateflow onterminate",
        "onterminate_is_used_only_without_onterminateflow flows_end_by_reset_timeout_and_the_end_of_input",
    ),
    ("callback", "flowmonitor", "onflowattribute", "flowmonitor_gets_flow_before_timestamp_and_every_flow"),
    ("callback", "messagemonitor", "onnewflowrecord", "onnewflowrecord_hears_every_new_flow_record"),
    ("callback", "messagemonitor", "onflowmetric", "onflowmetric_reports_round_trip_and_retransmissions_only"),
    ("callback", "packet_storage", "filter", "packet_storage_filter_is_asked_once_per_flow_of_any_protocol"),
    (
        "callback",
        "packet_storage",
        "filter_payload",
        "filter_payload_sees_the_first_payload_of_each_direction_and_overrides filter_payload_sees_the_first_datagrams",
    ),
    // Blocks
    (
        "field",
        "countergroup",
        "control meters keyinfo",
        "a_counter_group_with_all_its_fields defaults_of_a_counter_group",
    ),
    (
        "field",
        "countergroup.control",
        "guid name description bucketsize resolver_guid",
        "a_counter_group_with_all_its_fields defaults_of_a_counter_group",
    ),
    ("field", "resourcegroup", "control", "other_spellings_and_missing_descriptions_of_definitions"),
    (
        "field",
        "resourcegroup.control",
        "guid name description",
        "other_spellings_and_missing_descriptions_of_definitions",
    ),
    ("field", "alertgroup", "control", "other_spellings_and_missing_descriptions_of_definitions"),
    ("field", "alertgroup.control", "guid name description", "other_spellings_and_missing_descriptions_of_definitions"),
    ("field", "protocol_handler", "control", "parselayer_answers_and_their_layers"),
    (
        "field",
        "protocol_handler.control",
        "guid name description host_protocol_guid host_protocol_ports",
        "udp_and_tcp_attach_by_destination_first_then_source handlers_on_ip_protocols_ethertypes_and_ipv6",
    ),
    (
        "callback",
        "protocol_handler",
        "parselayer",
        "parselayer_answers_and_their_layers a_director_sends_packets_to_other_handlers",
    ),
    (
        "callback",
        "simplecounter",
        "onpacket",
        "example_1_layers_and_keys simplecounter_is_called_once_per_packet_that_has_the_layer",
    ),
    ("field", "simplecounter", "protocol_guid", "an_unknown_protocol_guid_is_a_warning_at_load"),
    ("field", "simplecounter", "flow_counter", "flow_counter_matters_with_netflow_input_only"),
    (
        "callback",
        "channellistener",
        "onchannelmessage",
        "broadcast_reaches_the_listeners_of_a_class_in_every_vm_of_the_file",
    ),
    (
        "callback",
        "inputfilter",
        "step",
        "step_builds_packets_until_it_says_false step_feeds_metrics_and_flows_at_the_time_it_sets",
    ),
    ("callback", "inputfilter", "step_alert", "step_alert_returns_tables"),
    (
        "field",
        "step_alert.result",
        "AcknowledgeFlag AlertDetails AlertGroupGUID AlertStatus ClassificationKey DestIP DestPort EventID Priority Protocol ProtocolFamily \
      SensorID SigGenerator SigIDKey SigIDKeyLabel SigIDLabel SigRev SourceIP SourcePort TimestampSecs TimestampUsecs",
        "step_alert_returns_tables",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Item to the tests that cover it.
fn covered() -> BTreeMap<(String, String, String), Vec<&'static str>> {
    let mut items: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (kind, owner, names, tests) in COVERED {
        for name in names.split_whitespace() {
            let item = ((*kind).to_owned(), (*owner).to_owned(), name.to_owned());
            items.entry(item).or_default().extend(tests.split_whitespace());
        }
    }
    items
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of tests").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "lua") {
            found.push(path);
        }
    }
}

/// Names of test functions of Rust files and of cases of Lua files.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("tests"), &mut files);
    let mut names = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if path.extension().is_some_and(|ext| ext == "lua") {
            let cases = text.lines().filter_map(|line| line.trim_start().strip_prefix("case(\"")?.split_once('"'));
            names.extend(cases.map(|(name, _)| name.to_owned()));
            continue;
        }
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim() == "#[test]" {
                let function = lines.peek().and_then(|next| next.trim().strip_prefix("fn ")?.split_once('('));
                names.extend(function.map(|(name, _)| name.to_owned()));
            }
        }
    }
    names
}

#[test]
fn every_test_that_the_table_names_exists() {
    let tests = tests();
    assert!(tests.len() > 200, "the scan found only {} tests", tests.len());
    let missing: BTreeSet<_> = covered().into_values().flatten().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "named in the table, but no such test: {missing:?}");
}

/// Kind, owner and name of the items in a list, which are its first columns.
fn items(text: &str) -> BTreeSet<(String, String, String)> {
    let item = |line: &str| {
        let columns: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [kind, owner, name, ..] = &columns[..] else { panic!("{line}") };
        (kind.clone(), owner.clone(), name.clone())
    };
    text.lines().map(item).collect()
}

#[test]
fn every_item_of_this_version_has_a_test() {
    let (items, covered) = (items(ITEMS), covered());
    assert!(items.len() > 350 && ITEMS.lines().is_sorted(), "{} items", items.len());
    let missing: Vec<_> = items.iter().filter(|item| !covered.contains_key(item)).collect();
    assert!(missing.is_empty(), "{} items without a test: {missing:?}", missing.len());
    let unknown: Vec<_> = covered.keys().filter(|item| !items.contains(*item)).collect();
    assert!(unknown.is_empty(), "in the table, but not in the list: {unknown:?}");
}

#[test]
fn the_list_of_items_is_that_of_the_contract() {
    let Ok(text) = fs::read_to_string(root().join("../shared/lua-api/api.tsv")) else {
        eprintln!("skipped: no list of the API beside the checkout");
        return;
    };
    let (here, there) = (items(ITEMS), items(&text));
    assert_eq!(here.symmetric_difference(&there).collect::<Vec<_>>(), Vec::<&(String, String, String)>::new());
}
