package cache

import "time"

// Mute makes s announce its changes on a channel without subscribers.
func (s *Cache[V]) Mute() { s.cfg.Prefix = "unheard:" }

// Heard returns the time up to which all messages of node i have arrived.
func (s *Cache[V]) Heard(i int) time.Time {
	return s.near.born.Add(time.Duration(s.near.nodes[i].heard.Load()))
}
