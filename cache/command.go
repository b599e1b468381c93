package cache

import (
	"math/rand/v2"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// command is a script with its keys and arguments.
type command struct {
	script *nodeset.Script
	keys   []string
	args   []any
	size   int
}

// dropping returns the command that deletes entries and ends their fill leases.
func (s *Cache[V]) dropping(keys ...string) command {
	var names []string
	for _, key := range keys {
		names = append(names, s.entryName(key), s.leaseName(key))
	}
	return command{script: dropScript, keys: names, args: []any{s.drops()}}
}

// entryWrite is an entry to be stored.
type entryWrite struct {
	key      string
	req      request
	negative bool // the value is known not to exist
	data     []byte
	took     time.Duration // duration of its load; 0: the value was set
	lease    string        // nonce of the fill lease that must be valid; "": none is needed
}

// storing returns the command that stores e on n, in this run of its server.
func (s *Cache[V]) storing(n *node, run string, e entryWrite) command {
	kind, hard, soft := kindValue, jitter(e.req.ttl), e.req.soft
	keep := hard + s.cfg.StaleFor
	if e.negative {
		kind, hard, soft = kindNone, jitter(s.cfg.NegativeTTL), 0
		keep = hard
	}
	if s.standsIn(n, e.key) {
		hard, keep = min(hard, standInTTL), min(keep, standInTTL)
	}
	nonce, fill := e.lease, "1"
	if nonce == "" {
		nonce, fill = s.nonce(), ""
	}
	args := []any{nonce, fill, kind, soft.Milliseconds(), hard.Milliseconds(), e.took.Milliseconds(), run,
		keep.Milliseconds(), s.drops(), e.data, s.tagPrefix(), s.cfg.lifetime().Milliseconds(), s.deletionPrefix()}
	return command{storeScript, s.names(e.key), appendTags(args, e.req.tags), len(e.data)}
}

// jitter varies a TTL at random by up to 10 %. The result is at least a
// millisecond.
func jitter(ttl time.Duration) time.Duration {
	return max(ttl+time.Duration((2*rand.Float64()-1)*jitterShare*float64(ttl)), time.Millisecond)
}

func appendTags(args []any, tags []string) []any {
	for _, tag := range tags {
		args = append(args, tag)
	}
	return args
}
