package nodeset

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script, sent by its hash; a node that does not know it is
// sent the source.
type Script struct {
	name, src, hash string
	yields          bool
	reads           bool // and writes nothing
}

// registry is all scripts there are, to load them on nodes before they are
// needed: a script that a node lacks is sent again behind what followed it, and
// a release that comes late lets others wait.
var registry struct {
	mu  sync.Mutex
	all []*Script
}

// NewScript prepares src, which is kept for the life of the process. name
// stands in errors.
func NewScript(name, src string) *Script {
	sum := sha1.Sum([]byte(src))
	s := &Script{name: name, src: src, hash: hex.EncodeToString(sum[:])}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	registry.all = append(registry.all, s)
	return s
}

// loadScripts loads on a server what it lacks of all scripts; mostly that is
// nothing, because another process was there before. A server that refuses (a
// restricted user) is sent them as they are needed; only a connection that does
// not work is an error.
func loadScripts(ctx context.Context, cn *redis.Conn) error {
	registry.mu.Lock()
	all := slices.Clone(registry.all)
	registry.mu.Unlock()
	hashes := make([]string, len(all))
	for i, s := range all {
		hashes[i] = s.hash
	}
	there, err := cn.ScriptExists(ctx, hashes...).Result()
	for i := 0; answered(err) && i < len(there); i++ {
		if !there[i] {
			err = cn.ScriptLoad(ctx, all[i].src).Err()
		}
	}
	if answered(err) {
		return nil
	}
	return err
}

// Yielding makes the script yield to others: it is sent in small batches, on
// another connection than other scripts, so that locks do not wait for bulk
// data. The order between yielding and other commands is undefined. It returns
// s, and is called before s is used.
func (s *Script) Yielding() *Script {
	s.yields = true
	return s
}

// ReadOnly marks the script as one that writes nothing, so that nothing is lost
// if it was not answered in time. It returns s, and is called before s is used.
func (s *Script) ReadOnly() *Script {
	s.reads = true
	return s
}

// Name is the name given to NewScript.
func (s *Script) Name() string { return s.name }

// wordsBefore is how many words come before the keys.
const wordsBefore = 3

// Command is s with keys and arguments. It refers to keys, which must not be
// changed afterwards; arguments may be pointers to strings and integers, which
// must not be either.
func (s *Script) Command(keys []string, args ...any) Command {
	words := make([]any, 0, wordsBefore+len(keys)+len(args))
	words = append(words, "evalsha", &s.hash, len(keys))
	for i := range keys {
		words = append(words, &keys[i]) // go-redis takes pointers, and they are not allocated
	}
	return Command{script: s, words: append(words, args...)}
}
