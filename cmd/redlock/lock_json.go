package main

import (
	"time"

	"github.com/venta-hq/redlock/lock"
)

// lockDoc is the JSON of one lock.
type lockDoc struct {
	Key     string      `json:"key"`
	State   string      `json:"state"`
	Mode    string      `json:"mode,omitempty"`
	Holder  *holderDoc  `json:"holder"`
	Readers []readerDoc `json:"readers,omitempty"`       // of a lock that is shared
	More    bool        `json:"more_readers,omitempty"`  // there may be others
	Token   int64       `json:"token_at_most,omitempty"` // the end of the block of tokens that the holder owns
	AgeMs   *float64    `json:"age_ms,omitempty"`        // of the oldest of several holders; absent: not known
	LeftMs  *float64    `json:"left_ms"`                 // null: the key has no expiry, or the state is unknown
	Votes   int         `json:"votes"`
	Need    int         `json:"need"`
	Waiting int         `json:"waiting"`
	Limit   int         `json:"limit,omitempty"` // how many can hold it at once
	Slots   []slotDoc   `json:"slots,omitempty"` // those that are taken
	Job     *jobDoc     `json:"done,omitempty"`  // of run --once
	Nodes   []viewDoc   `json:"nodes"`
}

type holderDoc struct {
	Writer  string `json:"writer"`
	Process string `json:"process,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Name    string `json:"name,omitempty"`
	Since   string `json:"since,omitempty"`
	Retains bool   `json:"may_retain,omitempty"` // its process may retain the key after a release
}

type slotDoc struct {
	Slot   int        `json:"slot"`
	Holder *holderDoc `json:"holder"`
	Token  int64      `json:"token_at_most,omitempty"`
	LeftMs *float64   `json:"left_ms"`
	Votes  int        `json:"votes"`
}

// readerDoc is a process that shares a lock.
type readerDoc struct {
	holderDoc
	LeftMs *float64 `json:"left_ms"`
}

type viewDoc struct {
	Node    string     `json:"node"`
	Error   string     `json:"error,omitempty"`
	Votes   bool       `json:"votes"`
	Holder  *holderDoc `json:"holder"`
	LeftMs  *float64   `json:"left_ms,omitempty"`
	Fence   int64      `json:"fence,omitempty"`
	Waiting int        `json:"waiting"`
}

func describeLock(i lock.Inspection) lockDoc {
	d := lockDoc{Key: i.Key, State: i.State.String(), Mode: string(i.Mode()), Holder: describeHolder(i.Holder), Token: i.Token,
		Votes: i.Votes, Need: i.Need, Waiting: i.Waiting, LeftMs: leftMs(i.Left)}
	d.Limit = i.Limit
	for _, s := range i.Slots {
		d.Slots = append(d.Slots, slotDoc{Slot: s.Number, Holder: describeHolder(s.Holder), Token: s.Token, LeftMs: leftMs(s.Left), Votes: s.Votes})
	}
	if i.State == lock.Unknown {
		d.LeftMs = nil
	}
	d.More = i.MoreReaders
	for _, r := range i.Readers {
		d.Readers = append(d.Readers, readerDoc{*describeHolder(r.Holder), leftMs(r.Left)})
	}
	if since := i.Since(); !since.IsZero() {
		age := ms(time.Since(since))
		d.AgeMs = &age
	}
	for _, v := range i.Views {
		n := viewDoc{Node: v.Node, Votes: v.Votes, Holder: describeHolder(v.Holder), Fence: v.Fence, Waiting: v.Waiting}
		if n.Holder != nil {
			n.LeftMs = leftMs(v.Left)
		}
		if v.Err != nil {
			n.Error = errorLine(v.Err)
		}
		d.Nodes = append(d.Nodes, n)
	}
	return d
}

func describeHolder(h lock.Holder) *holderDoc {
	if h.Writer == lock.NoWriter {
		return nil
	}
	d := &holderDoc{Writer: h.Writer.String(), Process: h.Process, Host: h.Host, PID: h.PID, Name: h.Name, Retains: h.MayRetain}
	if !h.Since.IsZero() {
		d.Since = h.Since.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return d
}

func leftMs(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	left := ms(d)
	return &left
}
