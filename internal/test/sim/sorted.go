package sim

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The commands on sorted sets.

// zadd knows the forms in use: ZADD key score member, and the same with NX or XX.
func (s *store) zadd(a []string) any {
	if len(a) == 3 {
		a = []string{a[0], "", a[1], a[2]}
	}
	if len(a) != 4 {
		return failure("ERR syntax error")
	}
	score, err := strconv.ParseFloat(a[2], 64)
	if err != nil || a[1] != "" && a[1] != "NX" && a[1] != "XX" {
		return failure("ERR syntax error")
	}
	if s.unmarked {
		score = math.Floor(score)
	}
	if a[1] == "XX" {
		if e := s.at(a[0]); e != nil {
			if _, there := e.scores[a[3]]; there {
				e.scores[a[3]] = score
			}
		}
		return int64(0)
	}
	e := s.ensure(a[0])
	if _, there := e.scores[a[3]]; there {
		if a[1] == "" {
			e.scores[a[3]] = score
		}
		return int64(0)
	}
	if e.scores == nil {
		e.scores = map[string]float64{}
	}
	e.scores[a[3]] = score
	return int64(1)
}

func (s *store) zcard(a []string) any {
	if e := s.at(a[0]); e != nil {
		return int64(len(e.scores))
	}
	return int64(0)
}

func (s *store) zrem(a []string) any {
	e := s.at(a[0])
	if e == nil {
		return int64(0)
	}
	n := int64(0)
	for _, m := range a[1:] {
		if _, there := e.scores[m]; there {
			delete(e.scores, m)
			n++
		}
	}
	if len(e.scores) == 0 {
		delete(s.keys, a[0])
	}
	return n
}

func (s *store) zrange(a []string) any {
	e := s.at(a[0])
	if e == nil {
		return []any{}
	}
	members := slices.SortedFunc(maps.Keys(e.scores), func(x, y string) int {
		return cmp.Or(cmp.Compare(e.scores[x], e.scores[y]), strings.Compare(x, y))
	})
	from, _ := strconv.Atoi(a[1])
	to, _ := strconv.Atoi(a[2])
	if from < 0 {
		from = max(from+len(members), 0)
	}
	if to < 0 {
		to += len(members)
	}
	out := []any{}
	for i := from; i <= to && i < len(members); i++ {
		out = append(out, members[i])
		if len(a) > 3 { // WITHSCORES
			out = append(out, scoreText(e.scores[members[i]]))
		}
	}
	return out
}

func scoreText(score float64) string { return strconv.FormatFloat(score, 'g', 17, 64) }
