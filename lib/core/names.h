/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_NAMES_H
#define VMEMDEV_CORE_NAMES_H
/*
 * Functions that several files of the library share, but no user, keep short names in
 * the source. In a static archive they are visible to every program that links it, so
 * there they carry the library's prefix. tests/checks/symbols.py sees that none is
 * missing here.
 */
#define balloon_assign_roles vmemdev_i_balloon_assign_roles
#define balloon_kick vmemdev_i_balloon_kick
#define balloon_load vmemdev_i_balloon_load
#define balloon_save vmemdev_i_balloon_save
#define balloon_save_size vmemdev_i_balloon_save_size
#define batch_cut vmemdev_i_batch_cut
#define batch_end_run vmemdev_i_batch_end_run
#define batch_flush vmemdev_i_batch_flush
#define batch_forget vmemdev_i_batch_forget
#define batch_give_back vmemdev_i_batch_give_back
#define batch_process vmemdev_i_batch_process
#define batch_take vmemdev_i_batch_take
#define bitmap_change vmemdev_i_bitmap_change
#define bitmap_count vmemdev_i_bitmap_count
#define bitmap_fill vmemdev_i_bitmap_fill
#define bitmap_run_end vmemdev_i_bitmap_run_end
#define chain_at_end vmemdev_i_chain_at_end
#define chain_start vmemdev_i_chain_start
#define config_take vmemdev_i_config_take
#define config_zero vmemdev_i_config_zero
#define device_check vmemdev_i_device_check
#define device_config_changed vmemdev_i_device_config_changed
#define device_fail vmemdev_i_device_fail
#define device_features_ok vmemdev_i_device_features_ok
#define device_forget_driver vmemdev_i_device_forget_driver
#define device_init vmemdev_i_device_init
#define device_kick_all vmemdev_i_device_kick_all
#define device_live vmemdev_i_device_live
#define device_publish vmemdev_i_device_publish
#define free_read vmemdev_i_free_read
#define guest_check vmemdev_i_guest_check
#define guest_dirty vmemdev_i_guest_dirty
#define guest_map vmemdev_i_guest_map
#define guest_reaches vmemdev_i_guest_reaches
#define guest_read vmemdev_i_guest_read
#define guest_run vmemdev_i_guest_run
#define guest_write vmemdev_i_guest_write
#define hint_begin vmemdev_i_hint_begin
#define hint_queue_reset vmemdev_i_hint_queue_reset
#define hint_reset vmemdev_i_hint_reset
#define inhibit_catch_up vmemdev_i_inhibit_catch_up
#define inhibit_reset vmemdev_i_inhibit_reset
#define listeners_plug vmemdev_i_listeners_plug
#define listeners_unplug vmemdev_i_listeners_unplug
#define mem_load vmemdev_i_mem_load
#define mem_save vmemdev_i_mem_save
#define mem_save_size vmemdev_i_mem_save_size
#define mem_unload vmemdev_i_mem_unload
#define packed_finish vmemdev_i_packed_finish
#define packed_parts vmemdev_i_packed_parts
#define packed_pop vmemdev_i_packed_pop
#define packed_publish vmemdev_i_packed_publish
#define packed_restage vmemdev_i_packed_restage
#define packed_size_ok vmemdev_i_packed_size_ok
#define packed_used vmemdev_i_packed_used
#define packed_wants_notify vmemdev_i_packed_wants_notify
#define pages_inflate vmemdev_i_pages_inflate
#define pages_read vmemdev_i_pages_read
#define record_begin vmemdev_i_record_begin
#define record_bits_size vmemdev_i_record_bits_size
#define record_end vmemdev_i_record_end
#define record_get16 vmemdev_i_record_get16
#define record_get32 vmemdev_i_record_get32
#define record_get64 vmemdev_i_record_get64
#define record_get8 vmemdev_i_record_get8
#define record_get_bits vmemdev_i_record_get_bits
#define record_get_header vmemdev_i_record_get_header
#define record_get_upto vmemdev_i_record_get_upto
#define record_put16 vmemdev_i_record_put16
#define record_put32 vmemdev_i_record_put32
#define record_put64 vmemdev_i_record_put64
#define record_put8 vmemdev_i_record_put8
#define record_put_bits vmemdev_i_record_put_bits
#define split_parts vmemdev_i_split_parts
#define split_pop vmemdev_i_split_pop
#define split_publish vmemdev_i_split_publish
#define split_size_ok vmemdev_i_split_size_ok
#define split_used vmemdev_i_split_used
#define split_wants_notify vmemdev_i_split_wants_notify
#define stats_process vmemdev_i_stats_process
#define stats_reset vmemdev_i_stats_reset
#define track_at vmemdev_i_track_at
#define track_give vmemdev_i_track_give
#define track_given vmemdev_i_track_given
#define track_take vmemdev_i_track_take
#define tracks_check vmemdev_i_tracks_check
#define tracks_clear vmemdev_i_tracks_clear
#define tracks_load vmemdev_i_tracks_load
#define tracks_save vmemdev_i_tracks_save
#define tracks_save_size vmemdev_i_tracks_save_size
#define vq_break vmemdev_i_vq_break
#define vq_layout_possible vmemdev_i_vq_layout_possible
#define vq_park vmemdev_i_vq_park
#define vq_restage vmemdev_i_vq_restage
#define vq_rewound vmemdev_i_vq_rewound

#endif
