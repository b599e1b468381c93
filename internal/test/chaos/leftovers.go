//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
)

// leftovers waits until only fence counters and records, which are kept on purpose, are left on the nodes. It reports
// keys that stay too long after the last operation, which must have ended.
//
// A key whose TTL exceeds the longest allowed is a violation. A key that merely still exists is missed progress: a
// server without processor time expires its keys late, and executes commands late, from when their PX counts.
func (f *findings) leftovers(ctx context.Context, set Nodes, t Tempo, later time.Duration) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for start := time.Now(); ; <-again.C {
		left, over := 0, false
		for i, addr := range set.Addrs() {
			keys, err := look(ctx, addr)
			since := time.Since(start)
			if err != nil {
				f.fail(fmt.Sprintf("the keys of node %d", i), err)
				return
			}
			for key, ttl := range keys {
				if kept(key) && ttl >= 0 || key == marks.Key {
					continue
				}
				left++
				broken, missed := judgeLeft(ttl, since, mayStay(key, t)+later)
				if broken != "" {
					f.broken = append(f.broken, fmt.Sprintf("%s on node %d %s", key, i, broken))
				}
				if missed != "" {
					f.missed = append(f.missed, fmt.Sprintf("%s on node %d %s", key, i, missed))
				}
				over = over || broken+missed != ""
			}
		}
		if left == 0 || over {
			return
		}
	}
}

// kept reports whether a key outlives its lock on purpose, though not forever.
func kept(key string) bool {
	return strings.HasSuffix(key, ":fence") || strings.HasSuffix(key, ":record") || strings.HasSuffix(key, ":record:promise")
}

// judgeLeft judges a key that is still on a node. since is the time since the last operation; ttl is negative if the
// key has none.
func judgeLeft(ttl, since, most time.Duration) (broken, missed string) {
	switch {
	case ttl < 0:
		return "lives for ever", ""
	case ttl > most:
		return fmt.Sprintf("lives for another %v, and no such key may live for more than %v", ttl, most), ""
	case since > most:
		return "", fmt.Sprintf("is left %v after the last operation, for another %v", since, ttl)
	}
	return "", ""
}

// mayStay returns how long a key may stay after the last operation. Wait queues and other companions of locks are kept
// for MaxTTL.
func mayStay(key string, t Tempo) time.Duration {
	const looking = 100 * time.Millisecond // between the last operation and the inspection
	if strings.HasPrefix(key, "lock:") {
		return t.TTL + looking
	}
	return t.MaxTTL + looking
}

// look returns the keys on a node and their TTLs, which are negative if there is none.
func look(ctx context.Context, addr string) (left map[string]time.Duration, err error) {
	c := redis.NewClient(ownOptions(addr))
	defer func() { err = errors.Join(err, c.Close()) }()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	left = map[string]time.Duration{}
	for _, key := range keys {
		const gone, never = -2, -1
		switch ttl, err := c.PTTL(ctx, key).Result(); {
		case err != nil:
			return nil, err
		case ttl == never:
			left[key] = -1
		case ttl != gone:
			left[key] = ttl
		}
	}
	return left, nil
}
