package cache

import "time"

// Mute announces the changes of s from now on on a channel that nobody listens
// to.
func (s *Cache[V]) Mute() { s.cfg.Prefix = "unheard:" }

// Heard is up to when all messages of node i have arrived.
func (s *Cache[V]) Heard(i int) time.Time {
	return s.near.born.Add(time.Duration(s.near.nodes[i].heard.Load()))
}
