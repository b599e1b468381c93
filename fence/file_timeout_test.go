package fence_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/fence"
)

// Check passes a context without an end, so a File ends by itself.
func TestFile_Timeout_BoundsTheWaitForOtherChecks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	unlock := lockFile(t, path+".lock")
	for _, tt := range []struct{ timeout, want time.Duration }{{0, 5 * time.Second}, {time.Millisecond, time.Millisecond}, {time.Hour, time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(fence.WithToken(t.Context(), "k", 9), time.Nanosecond)
			defer cancel()
			began := time.Now()
			err := fence.Check(ctx, fence.File{Path: path, Timeout: tt.timeout}, "k")
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "longer than File.Timeout, "+tt.want.String()) {
				t.Errorf("Timeout %v: %v", tt.timeout, err)
			}
			if got := time.Since(began); got != tt.want {
				t.Errorf("Timeout %v: it took %v", tt.timeout, got)
			}
		})
	}
	unlock()
	pass(t, fence.File{Path: path}.CheckToken(t.Context(), "k", 1)) // so none was kept
	if err := (fence.File{Path: path, Timeout: -1}).CheckToken(t.Context(), "k", 2); err == nil || !strings.Contains(err.Error(), "File.Timeout is -1ns") {
		t.Errorf("a negative Timeout: %v", err)
	}
}
