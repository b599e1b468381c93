package cache

import (
	"strconv"
	"strings"
	"sync/atomic"
)

// The names of keys and channels on a node.
func (s *Cache[V]) entryName(key string) string { return braced(s.cfg.Prefix, "v", key) }
func (s *Cache[V]) leaseName(key string) string { return braced(s.cfg.Prefix, "l", key) }
func (s *Cache[V]) names(key string) []string   { return []string{s.entryName(key), s.leaseName(key)} }
func (s *Cache[V]) tagPrefix() string           { return s.cfg.Prefix + "t:" }

// deletionPrefix comes before a tag in the name of the key that records the
// tag's deletion.
func (s *Cache[V]) deletionPrefix() string { return s.cfg.Prefix + "d:" }

// deletions returns the name of the counter of deleted tags on n. It is "" on a
// Redis Cluster, which does not support tags.
func (s *Cache[V]) deletions(n *node) string {
	if n.Sharded() {
		return ""
	}
	return s.cfg.Prefix + "d"
}

// braced returns a name with key as its hash tag, so that its entry and its
// lease share a slot. An empty "{}" would not be a hash tag; ":" and "}" after
// the letter distinguish the two forms.
func braced(prefix, letter, key string) string {
	if key[0] == '}' {
		return prefix + letter + "}:{:" + key + "}"
	}
	return prefix + letter + ":{" + key + "}"
}

// unbraced returns the key of a name that braced made.
func unbraced(prefix, letter, name string) string {
	text := strings.TrimSuffix(strings.TrimPrefix(name, prefix+letter), "}")
	if key, ok := strings.CutPrefix(text, "}:{:"); ok {
		return key
	}
	return strings.TrimPrefix(text, ":{")
}

// drops returns the channel that announces stored and deleted keys.
func (s *Cache[V]) drops() string { return dropChannel + s.cfg.Prefix }

const (
	wakeChannel = "redlock:cache:wake:"
	dropChannel = "redlock:cache:drop:"
)

func (s *Cache[V]) channels() []string {
	if s.near == nil {
		return []string{wakeChannel + s.c.Process()}
	}
	return []string{wakeChannel + s.c.Process(), s.drops()}
}

// serial counts the nonces of this process: its Caches may share a Cluster and
// a Prefix.
var serial atomic.Uint64

// nonce returns a name for one attempt to store, unique among all processes.
func (s *Cache[V]) nonce() string {
	return s.c.Process() + "-" + strconv.FormatUint(serial.Add(1), 36)
}
