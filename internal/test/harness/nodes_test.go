package harness

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestNodes_ShowWhatIsOnEachNode(t *testing.T) {
	Each(t, 2, func(t *testing.T, s Set) {
		n := Inspect(t, s)
		n.Put(1, "a:1", "value", time.Hour)
		n.Put(1, "b:1", "other", time.Hour)
		if one, none := n.Get(1, "a:1"), n.Get(0, "a:1"); one != "value" || none != "" {
			t.Errorf("Get = %q on the node that has it, %q on the other", one, none)
		}
		if got := n.Having("a:1"); !slices.Equal(got, []int{1}) {
			t.Errorf("Having = %v", got)
		}
		if got := n.Keys(1, "a:*"); !slices.Equal(got, []string{"a:1"}) {
			t.Errorf("Keys = %v", got)
		}
		settled := false
		n.Gone(func() { settled = true }, []int{1}, "a:1")
		if !settled {
			t.Error("Gone did not wait for answers")
		}
		n.Flush(1)
		if got := n.Having("a:1"); got != nil {
			t.Errorf("after Flush: %v", got)
		}
	})
}

func TestWatched_ShowsTheFirstWait(t *testing.T) {
	w := Watch(context.Background())
	_ = w.Err()
	select {
	case <-w.Waiting:
		t.Error("the context reports a waiter too early")
	default:
	}
	w.Done()
	w.Done()
	<-w.Waiting
}
