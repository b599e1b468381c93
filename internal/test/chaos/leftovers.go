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

// leftovers waits until nothing is left on the nodes but fence counters and records, which are kept on purpose, and says
// what is there for longer than it may be when the last operation is over now.
//
// A key that will live longer than any key may is a violation. One that merely is still there is progress that was missed:
// a server that gets no processor expires its keys late, and reads a command late whose PX counts from then.
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

// kept reports whether a key is one that outlives its lock on purpose, though not for ever.
func kept(key string) bool {
	return strings.HasSuffix(key, ":fence") || strings.HasSuffix(key, ":record") || strings.HasSuffix(key, ":record:promise")
}

// judgeLeft judges a key that is on a node so long after the last operation, with this TTL, less than 0 for none.
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

// mayStay is how long a key may stay after the last operation. Queues and what else stands beside locks is kept for MaxTTL.
func mayStay(key string, t Tempo) time.Duration {
	const looking = 100 * time.Millisecond // between the last operation and the look
	if strings.HasPrefix(key, "lock:") {
		return t.TTL + looking
	}
	return t.MaxTTL + looking
}

// look returns the keys on a node and how long each will live, less than 0 for ever.
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
