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
	yields          bool
	reads           bool // and writes nothing
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

// Yielding makes the script one that lets others go first: it is sent in small batches, on another connection than the
// scripts that are not, which keeps those that hold locks from waiting for those that move data. Nothing is promised about the
// order of yielding and other commands to each other. It returns s, and is called before s is used.
func (s *Script) Yielding() *Script {
	s.yields = true
	return s
}

// ReadOnly says that the script writes nothing, so that nothing is missed where it was not answered in time. It returns s,
// and is called before s is used.
func (s *Script) ReadOnly() *Script {
	s.reads = true
	return s
}

// Name is the name given to NewScript.
func (s *Script) Name() string { return s.name }

// Command is a script with its keys and arguments, to be sent to any number of nodes. It must not be changed.
type Command struct {
	script *Script // nil for a plain command
	words  []any   // as Redis takes them, for EVALSHA
	last   [2]any  // what stands in the place of the last words, as many as are not nil
}

// yields reports whether the command lets others go first. Plain commands do.
func (c *Command) yields() bool { return c.script == nil || c.script.yields }

// reads reports whether the command writes nothing. Plain commands on a stream do not.
func (c *Command) reads() bool { return c.script == nil || c.script.reads }

// wordsBefore is how many words come before the keys.
const wordsBefore = 3

// Command is s with keys and arguments. It refers to keys, which must not be changed afterwards; arguments may be pointers
// to strings and integers, which must not be either.
func (s *Script) Command(keys []string, args ...any) Command {
	words := make([]any, 0, wordsBefore+len(keys)+len(args))
	words = append(words, "evalsha", &s.hash, len(keys))
	for i := range keys {
		words = append(words, &keys[i]) // go-redis takes pointers, and they are not allocated
	}
	return Command{script: s, words: append(words, args...)}
}

// With is the command with another last argument.
func (c Command) With(last any) Command {
	c.last = [2]any{last}
	return c
}

// WithTwo is the command with other last two arguments.
func (c Command) WithTwo(lastButOne, last any) Command {
	c.last = [2]any{lastButOne, last}
	return c
}

// redis is the command as go-redis takes it: with the script's hash, or its source for a server that does not have it.
func (c Command) redis(bySource bool) *redis.Cmd {
	cmd := new(redis.Cmd)
	c.fill(cmd, nil, bySource)
	return cmd
}

// fill makes cmd the command as go-redis takes it. Words of this command alone are put behind those in room, which is
// returned.
func (c Command) fill(cmd *redis.Cmd, room []any, bySource bool) []any {
	words := c.words
	if bySource || c.last[0] != nil {
		begin := len(room)
		room = append(room, words...)
		words = room[begin:len(room):len(room)]
		c.finish(words)
	}
	if bySource {
		words[0], words[1] = "eval", &c.script.src
	}
	*cmd = *redis.NewCmd(context.Background(), words...)
	if c.script != nil {
		cmd.SetFirstKeyPos(wordsBefore) // where a Redis Cluster finds the key that places the command
	}
	return room
}

// finish puts the last words into their places.
func (c Command) finish(words []any) {
	switch end := len(words); {
	case c.last[1] != nil:
		words[end-2], words[end-1] = c.last[0], c.last[1]
	case c.last[0] != nil:
		words[end-1] = c.last[0]
	}
}
