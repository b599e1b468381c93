package session

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

var (
	errForeign = errors.New("a record that this library has not written")
	errAhead   = fmt.Errorf("%w: a version is more than %v ahead of this machine's clock; if clocks are wrong, set them", errForeign, nodeset.MaxFenceLead)
)

// headWidth is the width of the part before the user in a record's head.
// scripts/lib.lua describes the head.
const headWidth = versionWidth + timeWidth + versionWidth + 2*timeWidth

// parseRecord parses a record of a node with this memory. It returns nil if the
// reply has none, and an error if this package cannot have written the record
// by now. If the fields equal those of before, the two records share them.
func parseRecord(reply any, memory string, now time.Time, before *record) (*record, error) {
	words, ok := reply.([]any)
	if !ok || len(words)%2 != 0 {
		return nil, errForeign
	}
	if len(words) == 0 {
		return nil, nil
	}
	p := recordParser{memory: memory, latest: latest(now)}
	for i := 0; i < len(words); i += 2 {
		name, _ := words[i].(string)
		value, _ := words[i+1].(string)
		if err := p.add(name, value); err != nil {
			return nil, err
		}
	}
	switch r := &p.record; {
	case r.gone:
		return p.tombstone()
	case !p.headed || r.to != "" || r.until != "":
		return nil, errForeign
	case before != nil && !before.gone && len(before.fields) == p.fields && before.hasAll(words):
		r.fields = before.fields
	default:
		r.fields = fieldsOf(words, p.fields)
	}
	return &p.record, nil
}

// recordParser is a record of which a part has been parsed.
type recordParser struct {
	memory, latest string
	record         record // without its fields
	headed         bool
	fields         int
}

func (p *recordParser) add(name, value string) error {
	switch {
	case name == "h":
		p.headed = true
		return p.record.parseHead(value, p.memory, p.latest)
	case name == "x":
		p.record.gone = true
	case name == "to":
		p.record.to = value
	case name == "until":
		p.record.until = value
	case isField(name):
		p.fields++
		return checkField(name[1:], value, p.latest)
	default:
		return errForeign
	}
	return nil
}

// tombstone returns the record of a tombstone.
func (p *recordParser) tombstone() (*record, error) {
	r := &p.record
	if p.fields > 0 || p.headed || r.to != "" && (!valid(r.to) || !isTime(r.until, timeWidth)) {
		return nil, errForeign
	}
	return r, nil
}

// isField reports whether name is the name of a field or a floor in a record.
func isField(name string) bool { return len(name) > 1 && name[0] == 'f' }

// hasAll reports whether r has the fields in the words of a record.
func (r *record) hasAll(words []any) bool {
	for i := 0; i < len(words); i += 2 {
		if name := words[i].(string); isField(name) && r.fields[name[1:]] != words[i+1].(string) {
			return false
		}
	}
	return true
}

// fieldsOf returns the n fields in the words of a record.
func fieldsOf(words []any, n int) map[string]string {
	fields := make(map[string]string, n)
	for i := 0; i < len(words); i += 2 {
		if name := words[i].(string); isField(name) {
			fields[name[1:]] = words[i+1].(string)
		}
	}
	return fields
}

// parseHead parses head into r. It returns an error if head is not well formed.
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

// checkField returns an error unless a field or a floor is well formed.
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
