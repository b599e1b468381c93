package record

import (
	"bytes"
	"errors"
	"strconv"
	"testing"
)

// answer makes a reply out of what a fuzzer gives: one of the scripts', nearly
// one, or what a broken node may say.
func answer(shape uint8, a, b int64, x, y string) (reply any) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []any{
		[]any{number(a), number(b), number(a), y, x},
		[]any{number(a), number(b), number(b), "", x},
		[]any{x, y, x, y, x},
		[]any{x, number(b), number(a), "1", y},
		[]any{a, b, a, "", x},
		[]any{number(a), number(b), number(a), nil, x},
		[]any{number(a), number(b), number(a), ""},
		[]any{number(a), number(b), number(a), "", x, y},
		[]any{[]any{number(a), number(b), number(a), "", x}},
		[]any{number(a), number(b), number(a), "", errors.New(x)},
		[]any{},
		[]any(nil),
		nil,
		a,
		x,
		[]any{a},
		[]any{a, b},
		[]any{a, x},
		[]any{nil},
		[]any{true, b},
		[]string{x, y},
		map[any]any{x: a},
		[]any{float64(1)},
		errors.New(x),
	}[shape%24]
}

func FuzzParse_HostileReplyIsNoRecord(f *testing.F) {
	for shape := range uint8(24) {
		for _, n := range []int64{0, 1, -1, 1<<53 - 1, 1 << 53, -1 << 63, 1<<63 - 1} {
			f.Add(shape, n, int64(1), "data", "")
			f.Add(shape, int64(1), n, "1", "1")
		}
	}
	f.Add(uint8(2), int64(0), int64(0), "+1", "01")
	f.Add(uint8(2), int64(0), int64(0), "99999999999999999999", "1e3")
	f.Fuzz(func(t *testing.T, shape uint8, a, b int64, x, y string) {
		reply := answer(shape, a, b, x, y)
		checkParseRecord(t, reply)
		checkParseWrite(t, reply)
	})
}

func checkParseRecord(t *testing.T, reply any) {
	t.Helper()
	r, found, err := parseRecord(reply, maxToken-1)
	words, isList := reply.([]any)
	switch {
	case found && (err != nil || len(words) != 5 || !r.plausible() || !bytes.Equal(r.Data, []byte(words[4].(string)))):
		t.Errorf("parseRecord(%#v) = %+v, %v", reply, r, err)
	case !found && err == nil && (!isList || len(words) > 0):
		t.Errorf("parseRecord(%#v) says that there is none", reply)
	case !found && (r.Token != 0 || r.Data != nil):
		t.Errorf("parseRecord(%#v) = %+v with %v", reply, r, err)
	}
}

// plausible reports whether a writer may have written r.
func (r *Record) plausible() bool {
	return r.Token >= 0 && r.Token < 1<<53 && r.Seq >= 0 && r.Origin >= 0 && r.Origin <= r.Token
}

func checkParseWrite(t *testing.T, reply any) {
	t.Helper()
	const token = 7
	kept, err := parseWrite(reply, token)
	words, _ := reply.([]any)
	refusal := len(words) == 2 && words[0] == any(int64(0))
	want := len(words) == 1 && words[0] == any(int64(1)) ||
		refusal && words[1] == any(int64(token)) // it has a newer one of ours
	if kept != want || kept && err != nil {
		t.Errorf("parseWrite(%#v) = %t, %v", reply, kept, err)
	}
	if !kept && err == nil && !refusal {
		t.Errorf("parseWrite(%#v) is taken for a refusal", reply)
	}
}
