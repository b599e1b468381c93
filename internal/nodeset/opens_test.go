package nodeset

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A fleet that starts at once: each process opens the same set, and none is kept waiting beyond its deadline by the others.
func TestOpen_ManyAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		const processes = 50
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		defer cancel()
		opened, errs := make([]*Set, processes), make([]error, processes)
		var wg sync.WaitGroup
		for i := range processes {
			wg.Go(func() {
				opened[i], errs[i] = Open(ctx, Config{URLs: s.URLs(), NodeTimeout: unhurried, Logger: quiet})
			})
		}
		wg.Wait()
		for i, c := range opened {
			if errs[i] == nil {
				harness.CloseAtEnd(t, c)
			}
		}
		for i, err := range errs {
			harness.Must(t, began, err)
			if got := ran(t, opened[i].Nodes()[0], pushScript, []string{fmt.Sprint("list", i)}, "v"); got != int64(1) {
				t.Errorf("process %d is answered %v", i, got)
			}
		}
	})
}
