//go:build unix

package chaos_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/chaos"
)

// The sizes of a round, as REDLOCK_CHAOS_ROUND names them.
const (
	shortRound = "short" // a handful of rows
	fullRound  = "full"  // all rows
)

// round is which scenarios run, and for how long.
type round struct {
	size  string
	lasts time.Duration // 0: one round
}

// roundOf reads the values of REDLOCK_CHAOS_ROUND and REDLOCK_CHAOS_DURATION. Without the first a round is short, but full if there
// is a duration, or if -run names rows, which may be any.
func roundOf(size, duration, run string) (r round, err error) {
	if duration != "" {
		if r.lasts, err = time.ParseDuration(duration); err != nil {
			return round{}, fmt.Errorf("REDLOCK_CHAOS_DURATION: %w", err)
		}
	}
	implied := shortRound
	if duration != "" || strings.Count(run, "/") >= 2 {
		implied = fullRound
	}
	r.size = cmp.Or(size, implied)
	if r.size != shortRound && r.size != fullRound {
		return round{}, fmt.Errorf("REDLOCK_CHAOS_ROUND is %q: it must be %s or %s", size, shortRound, fullRound)
	}
	return r, nil
}

// thisRound is the round that the environment and -run ask for.
func thisRound(t *testing.T) round {
	t.Helper()
	r, err := roundOf(os.Getenv("REDLOCK_CHAOS_ROUND"), os.Getenv("REDLOCK_CHAOS_DURATION"), selected())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// selected is the value of -run.
func selected() string { return flag.Lookup("test.run").Value.String() }

func (r round) rows(all []chaos.Scenario) []chaos.Scenario {
	if r.size == fullRound {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(sc chaos.Scenario) bool { return !sc.Short })
}

func TestRoundOf_ReadsTheEnvironmentAndTheRows(t *testing.T) {
	for _, tt := range []struct {
		size, duration, run string
		want                round
		fails               string
	}{
		{want: round{size: shortRound}},
		{run: "Scenarios", want: round{size: shortRound}},
		{run: "Scenarios//a_node", want: round{size: fullRound}},
		{size: "short", run: "Scenarios//a_node", want: round{size: shortRound}},
		{size: "full", want: round{size: fullRound}},
		{duration: "2m", want: round{fullRound, 2 * time.Minute}},
		{size: "short", duration: "2m", want: round{shortRound, 2 * time.Minute}},
		{size: "ful", fails: `REDLOCK_CHAOS_ROUND is "ful": it must be short or full`},
		{duration: "long", fails: "REDLOCK_CHAOS_DURATION"},
	} {
		r, err := roundOf(tt.size, tt.duration, tt.run)
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%+v: error %v", tt, err)
			}
		case err != nil || r != tt.want:
			t.Errorf("%+v: %+v, %v", tt, r, err)
		}
	}
	for _, name := range []string{
		"a node crashes and forgets", "a node freezes", "a minority is cut off", "a client is killed", "a client sleeps past its TTL",
		"a node is emptied by hand",
	} {
		if !slices.ContainsFunc(round{size: shortRound}.rows(scenarios), func(sc chaos.Scenario) bool { return sc.Name == name }) {
			t.Errorf("the short round has no row %q", name)
		}
	}
}
