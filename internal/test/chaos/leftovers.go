//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// leftovers waits until nothing is left on the nodes but fence counters and records, which are kept on purpose, and says
// what is there for longer than it may be when the last operation is over now.
func leftovers(ctx context.Context, set Nodes, t Tempo, late time.Duration) (broken []string) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for start := time.Now(); ; <-again.C {
		left := 0
		for i, addr := range set.Addrs() {
			since := time.Since(start)
			keys, err := look(ctx, addr)
			if err != nil {
				return append(broken, fmt.Sprintf("node %d: %v", i, err))
			}
			for key, ttl := range keys {
				switch {
				case key == "redlock:mark": // which every node has for good
				case ttl < 0:
					broken = append(broken, fmt.Sprintf("%s on node %d lives for ever", key, i))
				case strings.HasSuffix(key, ":fence"), strings.HasSuffix(key, ":record"), strings.HasSuffix(key, ":record:promise"):
				case since > mayStay(key, t)+late:
					broken = append(broken, fmt.Sprintf("%s is left on node %d %v after the last operation, for another %v", key, i, since, ttl))
				default:
					left++
				}
			}
		}
		if left == 0 || len(broken) > 0 {
			return broken
		}
	}
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
