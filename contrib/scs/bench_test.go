package scs_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"

	"github.com/venta-hq/redlock/internal/nodetest"
	"github.com/venta-hq/redlock/internal/redisproc"
	"github.com/venta-hq/redlock/session"
)

// The same steps on five nodes, and of scs's own store on one of them.
func BenchmarkStore(b *testing.B) {
	nodes := nodetest.Real(b, 5, redisproc.Options{})
	stores := []struct {
		name string
		s    scs.CtxStore
	}{
		{"redlock", open(b, nodes.URLs(), session.Config{})},
		{"goredisstore", goredisstore.New(nodetest.Client(b, nodes, 0))},
	}
	for _, workers := range []int{1, 64} {
		for _, st := range stores {
			name := map[int]string{1: "1/", 64: "64/"}[workers] + st.name
			run := func(step string, do func(ctx context.Context, token string, blob []byte) error) {
				b.Run(step+"/"+name, func(b *testing.B) {
					b.ReportAllocs()
					b.SetParallelism(max(workers/runtime.GOMAXPROCS(0), 1))
					blob := make([]byte, 300)
					loop := func(next func() bool) {
						ctx, mine := context.Background(), token()
						if err := st.s.CommitCtx(ctx, mine, blob, time.Now().Add(time.Hour)); err != nil {
							b.Error(err)
						}
						for next() {
							if err := do(ctx, mine, blob); err != nil {
								b.Error(err)
								return
							}
						}
					}
					if workers == 1 {
						loop(b.Loop)
					} else {
						b.RunParallel(func(pb *testing.PB) { loop(pb.Next) })
					}
				})
			}
			run("find", func(ctx context.Context, token string, _ []byte) error {
				_, _, err := st.s.FindCtx(ctx, token)
				return err
			})
			run("commit", func(ctx context.Context, token string, blob []byte) error {
				return st.s.CommitCtx(ctx, token, blob, time.Now().Add(time.Hour))
			})
			run("create", func(ctx context.Context, _ string, blob []byte) error {
				return st.s.CommitCtx(ctx, token(), blob, time.Now().Add(time.Hour))
			})
		}
	}
}
