package web

import (
	"context"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lease"
)

// maxCheckpoints is how many checkpoints are described in one listing.
const maxCheckpoints = 100

// checkpoints is what is known of the checkpoints of all keys.
type checkpoints struct {
	all   []checkpoint
	total int // those that are not described among them
}

// checkpoint is one of them.
type checkpoint struct {
	lease.CheckpointInfo
	changed time.Time // when it was seen to change; zero: it has not changed since the first look
}

// checkpointRow is a checkpoint on a page. Its data are not shown.
type checkpointRow struct {
	Key     string     `json:"key"`
	Token   int64      `json:"token"` // of the lease that made it
	Size    int        `json:"size_bytes"`
	Changed *time.Time `json:"changed,omitempty"` // as far as this process has seen

	now time.Time
}

// askCheckpoints finds the checkpoints, and describes the first of them.
func (s *survey) askCheckpoints(ctx context.Context) time.Duration {
	began := time.Now()
	keys, err := s.src.Checkpoints(ctx)
	found := checkpoints{total: len(keys)}
	for _, key := range keys[:min(len(keys), maxCheckpoints)] {
		info, ok, lookErr := s.src.CheckpointInfo(ctx, key)
		if lookErr != nil {
			err = lookErr
			break
		}
		if ok {
			found.all = append(found.all, checkpoint{CheckpointInfo: info})
		} else {
			found.total-- // it was cleared
		}
	}
	pause := slower * s.pauseAfter(len(keys), time.Since(began))
	s.publish(func(p *picture) {
		found.compare(p.checkpoints.value, !p.checkpoints.at.IsZero())
		p.checkpoints = answered(found, err, pause)
	})
	return pause
}

// compare notes which checkpoints have changed since the listing before.
func (c *checkpoints) compare(before checkpoints, known bool) {
	was := map[string]checkpoint{}
	for _, b := range before.all {
		was[b.Key] = b
	}
	for i := range c.all {
		b, ok := was[c.all[i].Key]
		switch {
		case ok && !differ(b.CheckpointInfo, c.all[i].CheckpointInfo):
			c.all[i].changed = b.changed
		case known:
			c.all[i].changed = time.Now()
		}
	}
}

// differ reports whether is was made after was. One that a later lease has only
// taken over is the same.
func differ(was, is lease.CheckpointInfo) bool {
	return was.Token != is.Token || is.Revision != 0 && was.Revision != is.Revision
}

// of is the checkpoint of a key, described by info.
func (c checkpoints) of(info lease.CheckpointInfo, now time.Time) *checkpointRow {
	for _, known := range c.all {
		if known.Key == info.Key && !differ(known.CheckpointInfo, info) {
			return known.row(now)
		}
	}
	return checkpoint{CheckpointInfo: info}.row(now)
}

func (c checkpoint) row(now time.Time) *checkpointRow {
	r := &checkpointRow{Key: c.Key, Token: c.Token, Size: c.CheckpointInfo.Size, now: now}
	if !c.changed.IsZero() {
		r.Changed = &c.changed
	}
	return r
}

// Link is the page of the lock.
func (r checkpointRow) Link() string { return lockLink(r.Key) }

// Age is how long ago the checkpoint was seen to change.
func (r checkpointRow) Age() string {
	if r.Changed == nil {
		return "before the first check"
	}
	return ago(*r.Changed, r.now) + " ago"
}

// SizeText is the size of the data.
func (r checkpointRow) SizeText() string {
	switch {
	case r.Size < 1<<10:
		return present.Plural(r.Size, "byte", "bytes")
	case r.Size < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(r.Size)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(r.Size)/(1<<20))
}
