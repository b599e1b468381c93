package session

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodetest"
	"github.com/venta-hq/redlock/internal/redisproc"
)

// The steps of a session on five nodes, and GET and SET of plain go-redis on one of them, by 1 and by 64 goroutines.
func Benchmark(b *testing.B) {
	nodes := nodetest.Real(b, 5, redisproc.Options{})
	s, one := store(b, nodes, Config{}), nodetest.Client(b, nodes, 0)
	fields := data{"cart": make([]int, 100), "name": "ann"}
	type worker struct {
		ss *Session
		n  int
	}
	steps := []struct {
		name string
		do   func(ctx context.Context, w *worker) error
	}{
		{"raw GET", func(ctx context.Context, w *worker) error { return one.Get(ctx, "raw").Err() }},
		{"raw SET", func(ctx context.Context, w *worker) error {
			return one.Set(ctx, newID(), make([]byte, 300), time.Hour).Err()
		}},
		{"load", func(ctx context.Context, w *worker) error {
			_, err := s.Load(ctx, w.ss.ID())
			return err
		}},
		{"commit", func(ctx context.Context, w *worker) error {
			w.n++
			if err := w.ss.Set("n", w.n); err != nil {
				return err
			}
			return w.ss.Commit(ctx)
		}},
		{"create", func(ctx context.Context, w *worker) (err error) {
			_, err = s.Create(ctx, "", fields)
			return err
		}},
		{"create and destroy", func(ctx context.Context, w *worker) error {
			ss, err := s.Create(ctx, "", fields)
			if err != nil {
				return err
			}
			return ss.Destroy(ctx)
		}},
	}
	must(b, one.Set(b.Context(), "raw", make([]byte, 300), 0).Err())
	for _, workers := range []int{1, 64} {
		for _, step := range steps {
			b.Run(fmt.Sprintf("%s/%d", step.name, workers), func(b *testing.B) {
				b.ReportAllocs()
				ctx := context.Background()
				begin := func() *worker { return &worker{ss: create(b, s, "", fields)} }
				if workers == 1 {
					for w := begin(); b.Loop(); {
						must(b, step.do(ctx, w))
					}
					return
				}
				b.SetParallelism(max(workers/runtime.GOMAXPROCS(0), 1))
				b.RunParallel(func(pb *testing.PB) {
					for w := begin(); pb.Next(); {
						if err := step.do(ctx, w); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
