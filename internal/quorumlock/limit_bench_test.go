package quorumlock

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// BenchmarkLimit_OnANode is what an acquisition and a release of a slot cost a
// server together, in its own processor time: the first slot of a key, and the
// last that is free, which are far from where the attempt starts to look.
func BenchmarkLimit_OnANode(b *testing.B) {
	s := harness.Real(b, 1, redisserver.Options{})
	c := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(s.URLs()[0], "redis://")})
	defer c.Close()
	ctx := context.Background()
	acquire := redis.NewScript(slotAcquireSource)
	release := redis.NewScript(slotReleaseSource)
	for _, limit := range []int{4, 64, 1024} {
		for _, taken := range []int{0, limit - 1} {
			b.Run(fmt.Sprintf("%d/taken=%d", limit, taken), func(b *testing.B) {
				c.FlushDB(ctx)
				l, keys := &limited{n: limit}, limitNames("lock:k")
				ask := func(i int) {
					value := "01234567890123456789012345/" + strconv.Itoa(i) + "/host:12345/"
					if err := acquire.Run(ctx, c, keys, value, 60_000, 64, time.Now().UnixMicro(), "01234567890123456789012345/s",
						scriptRetention, scriptMaxTTL, l.marker(), limit, i%limit, "aa", l.step(), 0, "").Err(); err != nil {
						b.Fatal(err)
					}
				}
				for i := range taken {
					ask(i)
				}
				c.ConfigResetStat(ctx)
				for b.Loop() {
					ask(limit)
					if err := release.Run(ctx, c, keys, "01234567890123456789012345/"+strconv.Itoa(limit)+"/host:12345/", l.marker(), "", 20, scriptMaxTTL, "", "").Err(); err != nil {
						b.Fatal(err)
					}
				}
				stats := c.Info(ctx, "commandstats").Val()
				_, rest, _ := strings.Cut(stats, "cmdstat_evalsha:calls=")
				_, rest, _ = strings.Cut(rest, "usec=")
				usec, _, _ := strings.Cut(rest, ",")
				if n, err := strconv.ParseFloat(usec, 64); err == nil {
					b.ReportMetric(n/float64(b.N), "server-µs/op")
				}
			})
		}
	}
}
