package cluster

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script, sent by its hash; a node that does not know it is sent the source.
type Script struct {
	name, src, hash string
}

// registry is all scripts there are, to load them on nodes before they are needed: a script that a node lacks is sent
// again behind what followed it, and a release that comes late lets others wait.
var registry struct {
	mu  sync.Mutex
	all []*Script
}

// NewScript prepares src, which is kept for the life of the process. name stands in errors.
func NewScript(name, src string) *Script {
	sum := sha1.Sum([]byte(src))
	s := &Script{name: name, src: src, hash: hex.EncodeToString(sum[:])}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	registry.all = append(registry.all, s)
	return s
}

// loadScripts loads on a server what it lacks of all scripts; mostly that is nothing, because another process was there
// before. A server that refuses (a restricted user) is sent them as they are needed; only a connection that does not
// work is an error.
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

// Name is the name given to NewScript.
func (s *Script) Name() string { return s.name }

// Command is a script with its keys and arguments, to be sent to any number of nodes. It must not be changed.
type Command struct {
	script *Script // nil for a plain command
	words  []any   // as Redis takes them, for EVALSHA
}

// wordsBefore is how many words come before the keys.
const wordsBefore = 3

// Command is s with keys and arguments.
func (s *Script) Command(keys []string, args ...any) Command {
	words := make([]any, 0, wordsBefore+len(keys)+len(args))
	words = append(words, "evalsha", s.hash, len(keys))
	for _, k := range keys {
		words = append(words, k)
	}
	return Command{s, append(words, args...)}
}

// With is the command with other last arguments.
func (c Command) With(last ...any) Command {
	words := slices.Clone(c.words)
	copy(words[len(words)-len(last):], last)
	return Command{c.script, words}
}

// redis is the command as go-redis takes it: with the script's hash, or its source for a server that does not have it.
func (c Command) redis(bySource bool) *redis.Cmd {
	if c.script == nil {
		return redis.NewCmd(context.Background(), c.words...)
	}
	words := c.words
	if bySource {
		words = slices.Clone(words)
		words[0], words[1] = "eval", c.script.src
	}
	cmd := redis.NewCmd(context.Background(), words...)
	cmd.SetFirstKeyPos(wordsBefore) // where a Redis Cluster finds the key that places the command
	return cmd
}
