package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// record is what a node has of a session, or what several nodes have together. It is not changed once it is made.
type record struct {
	whole bool   // of one node: it was written whole since the node's memory began
	gone  bool   // a tombstone
	to    string // of a tombstone: the session that has replaced this one, and up to when to tell it
	until string

	born     string // a stamp
	issue    version
	user     string
	deadline string // absolute
	idle     string
	fields   map[string]string // name to version, kind and value

	dropped *atomic.Pointer[string] // of what was read: see Store.drop
}

const (
	kindValue   = '='
	kindDeleted = '-'
)

var (
	errForeign = errors.New("a record that is not one of ours")
	errAhead   = fmt.Errorf("%w: a version is more than %v ahead of this machine's clock; if clocks are wrong, set them", errForeign, cluster.MaxFenceLead)
)

// headWidth is the width of what stands before the user in a record's head, which is described with the scripts.
const headWidth = versionWidth + timeWidth + versionWidth + 2*timeWidth

// parseRecord reads a record of a node with this memory; nil where there is none. Whatever does not look like one that this
// package has written by now is an error. With a record in before that has the same fields, these are shared.
func parseRecord(reply any, memory string, now time.Time, before *record) (*record, error) {
	words, ok := reply.([]any)
	if !ok || len(words)%2 != 0 {
		return nil, errForeign
	}
	if len(words) == 0 {
		return nil, nil
	}
	r, latest := &record{}, latest(now)
	headed, fields := false, 0
	for i := 0; i < len(words); i += 2 {
		name, _ := words[i].(string)
		value, _ := words[i+1].(string)
		switch {
		case name == "h":
			headed = true
			if err := r.parseHead(value, memory, latest); err != nil {
				return nil, err
			}
		case name == "x":
			r.gone = true
		case name == "to":
			r.to = value
		case name == "until":
			r.until = value
		case len(name) > 1 && name[0] == 'f':
			if err := checkField(name[1:], value, latest); err != nil {
				return nil, err
			}
			fields++
			if before != nil && before.fields[name[1:]] != value {
				before = nil
			}
		default:
			return nil, errForeign
		}
	}
	switch {
	case r.gone && fields == 0 && !headed && (r.to == "" || valid(r.to) && isTime(r.until, timeWidth)):
		return r, nil
	case r.gone || !headed || r.to != "" || r.until != "":
		return nil, errForeign
	case before != nil && !before.gone && len(before.fields) == fields:
		r.fields = before.fields
		return r, nil
	}
	r.fields = make(map[string]string, fields)
	for i := 0; i < len(words); i += 2 {
		if name := words[i].(string); name != "h" {
			r.fields[name[1:]] = words[i+1].(string)
		}
	}
	return r, nil
}

// parseHead is an error if head does not look like one.
func (r *record) parseHead(head, memory, latest string) error {
	if len(head) < headWidth {
		return errForeign
	}
	r.whole = len(memory) >= versionWidth && head[:versionWidth] == memory[:versionWidth]
	at := versionWidth
	for _, part := range []*string{&r.born, &r.issue, &r.deadline, &r.idle} {
		width := timeWidth
		if part == &r.issue {
			width = versionWidth
		}
		*part = head[at : at+width]
		at += width
		if micros(*part) == 0 {
			return errForeign
		}
	}
	r.user = head[at:]
	return checkVersion(r.issue, latest)
}

// checkField is the error of a field, or a floor, that does not look like one.
func checkField(name, value, latest string) error {
	if name == "" || len(value) <= versionWidth || value[versionWidth] != kindValue && value[versionWidth] != kindDeleted {
		return errForeign
	}
	if err := checkVersion(value[:versionWidth], latest); err != nil || name != floorField {
		return err
	}
	if len(value) > versionWidth+1+maxFloors*versionWidth {
		return errForeign
	}
	for before := range slices.Chunk([]byte(value[versionWidth+1:]), versionWidth) {
		if err := checkVersion(string(before), latest); err != nil {
			return err
		}
	}
	return nil
}

// over reports whether neither deadline is left at now.
func (r *record) over(now string) bool { return r.deadline <= now || r.idle <= now }

// newest is the largest version of a field.
func (r *record) newest() version {
	top := version("")
	for _, f := range r.fields {
		top = max(top, f[:versionWidth])
	}
	return top
}

// merge is what two live records of one session are together: the last writer of each field, and deadlines as they were
// set last.
func merge(a, b *record) *record {
	if a == nil {
		return b
	}
	same := sameFields(a.fields, b.fields)
	if same && a.born <= b.born && a.issue >= b.issue &&
		a.deadline <= b.deadline && a.idle >= b.idle && a.idle <= a.deadline {
		return a
	}
	m := &record{
		born: min(a.born, b.born), issue: max(a.issue, b.issue), user: a.user,
		deadline: min(a.deadline, b.deadline), idle: max(a.idle, b.idle),
	}
	if m.fields = a.fields; !same {
		m.fields = maps.Clone(a.fields)
		for name, value := range b.fields {
			if have := m.fields[name]; have == "" || have[:versionWidth] < value[:versionWidth] {
				m.fields[name] = value
			}
		}
	}
	m.idle = min(m.idle, m.deadline)
	return m
}

func sameFields(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		have := b[name]
		if have == "" || have[:versionWidth] != value[:versionWidth] {
			return false
		}
	}
	return true
}

// equal reports whether a has all that b has. How long a session may idle is no part of it: the next load that sets it
// forward does so on each node by what that node has.
func (r *record) equal(b *record) bool {
	return r.issue == b.issue && r.deadline == b.deadline && r.born == b.born && sameFields(r.fields, b.fields)
}
