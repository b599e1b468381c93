package cache

import "time"

// Mute has the changes that s makes from now on told on another channel than the one that anybody listens to.
func (s *Cache[V]) Mute() { s.cfg.Prefix = "unheard:" }

// Heard is up to when all messages of node i have been heard.
func (s *Cache[V]) Heard(i int) time.Time {
	return s.near.born.Add(time.Duration(s.near.nodes[i].heard.Load()))
}
