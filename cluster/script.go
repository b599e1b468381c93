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

// byHash is the command that runs s with keys and args on a node that has it loaded.
func (s *Script) byHash(keys []string, args []any) *redis.Cmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, "evalsha", s.hash, len(keys))
	for _, k := range keys {
		words = append(words, k)
	}
	return command(append(words, args...))
}

// bySource repeats a command of byHash for a node that does not have the script.
func (s *Script) bySource(cmd *redis.Cmd) *redis.Cmd {
	words := append([]any(nil), cmd.Args()...)
	words[0], words[1] = "eval", s.src
	return command(words)
}

func command(words []any) *redis.Cmd {
	cmd := redis.NewCmd(context.Background(), words...)
	cmd.SetFirstKeyPos(3) // where a Redis Cluster finds the key that places the command
	return cmd
}
