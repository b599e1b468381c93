package nodeset

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// again restarts a node, and waits until it answers.
func again(t *testing.T, s harness.Set, i int, lose bool) {
	t.Helper()
	if err := s.Restart(i, lose); err != nil {
		t.Fatal(err)
	}
	client := harness.Client(t, s, i)
	harness.Eventually(t, "an answer after the restart", func() bool { return client.Ping(t.Context()).Err() == nil })
}

func TestOpen_LetsOnlyNodesVoteThatLostNothing(t *testing.T) {
	t.Parallel()
	forgets := func(i int) func(*testing.T, harness.Set) {
		return func(t *testing.T, s harness.Set) { again(t, s, i, true) }
	}
	remembers := func(i int) func(*testing.T, harness.Set) {
		return func(t *testing.T, s harness.Set) { again(t, s, i, false) }
	}
	type steps []func(*testing.T, harness.Set)
	for _, tt := range []struct {
		name  string
		steps steps
		want  []bool
	}{
		{"none restarted", nil, []bool{true, true, true}},
		{"one forgot", steps{forgets(1)}, []bool{true, false, true}},
		{"one restarted with its memory", steps{remembers(1)}, []bool{true, false, true}},
		{"a quorum forgot", steps{forgets(1), forgets(0)}, []bool{false, false, true}},
		{"all restarted with their memory", steps{remembers(0), remembers(1), remembers(2)}, []bool{false, false, false}},
		{"all restarted, and one forgot", steps{remembers(0), forgets(1), remembers(2)}, []bool{false, false, false}},
		{"all restarted, and one did not forget", steps{forgets(0), forgets(1), remembers(2)}, []bool{false, false, false}},
		{"all forgot, so they are a new set", steps{forgets(0), forgets(1), forgets(2)}, []bool{true, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			harness.Each(t, 3, func(t *testing.T, s harness.Set) {
				shut(t, open(t, s))
				for _, step := range tt.steps {
					step(t, s)
				}
				for range 2 { // what the first one writes must not change what the second one finds
					if got := votes(open(t, s)); !slices.Equal(got, tt.want) {
						t.Errorf("votes are %v, want %v", got, tt.want)
					}
				}
			})
		})
	}
}

func TestBootstrap_IsCompletedWhenTheLastNodeIsMet(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		s.Stop(2)
		c := open(t, s, impatient)
		if got := votes(c); got[0] || got[1] {
			t.Errorf("before all were met votes are %v", got)
		}
		again(t, s, 2, true)
		harness.Eventually(t, "all votes", func() bool { return !slices.Contains(votes(c), false) })
		if got := votes(open(t, s)); slices.Contains(got, false) {
			t.Errorf("for who opens later votes are %v", got)
		}
	})
}

func TestBootstrap_ByManyProcessesAtOnceLetsAllVote(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c, err := tryOpen(t, Config{URLs: s.URLs()})
				if err != nil {
					t.Error(err)
				} else if got := votes(c); slices.Contains(got, false) {
					t.Errorf("votes are %v", got)
				}
			})
		}
		wg.Wait()
	})
}

// A node that copies another between two steps of a bootstrap is not taken for that other.
func TestNode_WriteMark_RefusesTheMarkOfAnotherServer(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	n := c.Nodes()[0]
	old := n.evidence.Load()
	if err := harness.Client(t, s, 0).Set(t.Context(), marks.Key, c.Nodes()[1].evidence.Load().text, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := n.writeMark(old.text, "another"); !errors.Is(err, errChanged) {
		t.Errorf("writing over another mark: %v", err)
	}
	harness.Eventually(t, "a mark of its own", func() bool {
		m := n.evidence.Load().mark
		return m.memory != old.mark.memory && m.run == old.mark.run && m.id == old.mark.id
	})
}

func TestBootstrap_ThatWasInterruptedIsFinished(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		shut(t, c) // else it gives the others their places as they are
		for i := 1; i < 3; i++ {
			m := c.Nodes()[i].evidence.Load().mark
			m.state, m.id, m.record, m.final = stateNew, "", record{}, false
			if err := harness.Client(t, s, i).Set(t.Context(), marks.Key, m.String(), 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if got := votes(open(t, s)); slices.Contains(got, false) {
				t.Errorf("votes are %v", got)
			}
		}
	})
}

// A process that runs on remembers what the nodes have forgotten.
func TestBootstrap_IsRefusedWhileAProcessKnewTheNodes(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range s.Len() {
			again(t, s, i, true)
		}
		for i, n := range c.Nodes() {
			client := harness.Client(t, s, i)
			harness.Eventually(t, "the mark", func() bool {
				run(t, n, pingScript, nil)
				m, _ := parseMark(client.Get(t.Context(), marks.Key).Val())
				return m.state == stateSeen
			})
		}
		if got := votes(open(t, s)); slices.Contains(got, true) {
			t.Errorf("votes are %v", got)
		}
	})
}

// Marks of nodes called a, b, c, …, of a set of two or three.
func carries(id string, r record) mark {
	return mark{memory: id + id, data: "d", state: stateRipe, id: id, record: r, final: true}
}

func proposed(id string, state markState, r record) mark {
	return mark{memory: id + id, state: state, id: id, record: r}
}

func TestPlanBootstrap_GivesTheRecordToTheNodesThatWereMet(t *testing.T) {
	fresh := func(memory string) mark { return mark{memory: memory, state: stateNew} }
	made := func(memory string) mark { return mark{memory: memory, state: stateMade} }
	seen := func(memory string) mark { return mark{memory: memory, state: stateSeen} }
	names := []string{"a", "b", "c"}
	of := newRecord(names, []string{"aa", "bb", "cc"}, 2)
	other := newRecord([]string{"a", "x", "y"}, []string{"aa", "xx", "yy"}, 2)
	for _, tt := range []struct {
		name  string
		marks []mark
		want  bootstrapPlan // but for next
		gets  string        // which nodes get the record
		fails bool
	}{
		{"all new", []mark{fresh("aa"), fresh("bb"), fresh("cc")}, bootstrapPlan{whole: true}, "abc", false},
		{"all made", []mark{made("aa"), made("bb"), made("cc")}, bootstrapPlan{whole: true, made: true}, "abc", false},
		{"one made by another", []mark{made("aa"), fresh("bb"), made("cc")}, bootstrapPlan{whole: true}, "abc", false},
		{"one that somebody knew", []mark{fresh("aa"), seen("bb"), fresh("cc")}, bootstrapPlan{}, "abc", false},
		{"one was not met", []mark{fresh("aa"), {}, fresh("cc")}, bootstrapPlan{absent: true}, "ac", false},
		{"too few were met", []mark{{}, {}, fresh("cc")}, bootstrapPlan{absent: true}, "", false},
		{"broken off", []mark{carries("a", of), fresh("bb"), fresh("cc")}, bootstrapPlan{whole: true}, "bc", false},
		{"broken off, and one has forgotten", []mark{carries("a", of), fresh("bb"), fresh("c2")}, bootstrapPlan{}, "bc", false},
		{"one of another set", []mark{carries("a", other), fresh("bb"), fresh("cc")}, bootstrapPlan{}, "", true},
		{"one of another set, and one is away", []mark{carries("a", other), {}, fresh("cc")}, bootstrapPlan{absent: true}, "", false},
		{"one that the others are bootstrapped with", []mark{fresh("aa"), carries("x", other), carries("y", other)}, bootstrapPlan{whole: true}, "a", false},
		{"begun with another list", []mark{proposed("a", stateNew, other), fresh("bb"), fresh("cc")}, bootstrapPlan{}, "", true},
	} {
		f, err := planBootstrap(tt.marks, names, 2)
		gets := ""
		for i, m := range f.next {
			if m != (mark{}) {
				gets += names[i]
				if m.id != names[i] || m.record == (record{}) || m.final || m.unused() != f.whole {
					t.Errorf("%s: node %s gets %v", tt.name, names[i], m)
				}
			}
		}
		if f.next = nil; (err != nil) != tt.fails || !tt.fails && (f.whole != tt.want.whole || f.whole && f.made != tt.want.made || f.absent != tt.want.absent) || gets != tt.gets {
			t.Errorf("%s: %+v for %q, %v", tt.name, f, gets, err)
		}
	}
}

// What was proposed to every node that was met is made final, on all of them.
func TestPlanBootstrap_ProposesFirst(t *testing.T) {
	names := []string{"a", "b", "c"}
	r := newRecord(names, []string{"aa", "bb", "cc"}, 2)
	earlier, later := r, newRecord(names, []string{"a2", "b2", "c2"}, 2)
	if later.set < earlier.set {
		earlier, later = later, earlier
	}
	for _, tt := range []struct {
		name  string
		marks []mark
		state markState // of what is made final
		final string
	}{
		{"new nodes", []mark{proposed("a", stateNew, r), proposed("b", stateNew, r), proposed("c", stateNew, r)}, stateRipe, "abc"},
		{"one that somebody knew", []mark{proposed("a", stateNew, r), proposed("b", stateSeen, r), proposed("c", stateNew, r)}, stateAdded, "abc"},
		{"one is final", []mark{carries("a", r), proposed("b", stateNew, r), proposed("c", stateNew, r)}, stateRipe, "bc"},
		{"two are final, of two bootstraps", []mark{carries("a", earlier), carries("b", later), proposed("c", stateSeen, earlier)}, stateSeen, "c"},
		{"one lacks it", []mark{carries("a", r), proposed("b", stateNew, r), {memory: "cc", state: stateNew}}, "", ""},
		{"one was not met", []mark{proposed("a", stateNew, r), proposed("b", stateNew, r), {}}, stateAdded, "ab"},
	} {
		f, err := planBootstrap(tt.marks, names, 2)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		final := ""
		for i, m := range f.next {
			if m.final {
				final += names[i]
				if m.state != tt.state && tt.marks[i].state != stateSeen || m.record != tt.marks[i].record || m.id != names[i] {
					t.Errorf("%s: node %s gets %v", tt.name, names[i], m)
				}
			}
		}
		if final != tt.final {
			t.Errorf("%s: it is final on %q", tt.name, final)
		}
	}
}

func TestInForce_AQuorumCarriesTheRecord(t *testing.T) {
	r := newRecord([]string{"a", "b", "c"}, []string{"aa", "bb", "cc"}, 2)
	larger := newRecord([]string{"a", "b", "c", "d"}, []string{"aa", "bb", "cc", "dd"}, 2)
	stricter := newRecord([]string{"a", "b", "c"}, []string{"aa", "bb", "cc"}, 3)
	none := mark{memory: "x", state: stateSeen}
	for i, tt := range []struct {
		marks   []mark
		of      record
		want    bool
		belongs []bool
	}{
		{[]mark{carries("a", r), carries("b", r), carries("c", r)}, r, true, []bool{true, true, true}},
		{[]mark{carries("a", r), none, carries("c", r)}, r, true, []bool{true, false, true}},
		{[]mark{carries("a", r), none, {}}, r, false, []bool{true, false, false}},
		{[]mark{carries("a", r), proposed("b", stateSeen, r), none}, r, false, []bool{true, false, false}},
		{[]mark{carries("a", r), carries("a", r), {}}, r, false, []bool{false, false, false}},
		{[]mark{carries("a", r), carries("a", r), carries("c", r)}, r, true, []bool{false, false, true}},
		{[]mark{carries("a", larger), carries("b", larger), carries("c", larger)}, larger, false, []bool{true, true, true}},
		{[]mark{carries("a", stricter), carries("b", stricter), carries("c", stricter)}, stricter, false, []bool{true, true, true}},
		{[]mark{carries("a", r), carries("b", r), carries("c", larger)}, r, true, []bool{true, true, false}},
	} {
		got, ok := inForce(tt.marks, 2)
		if ok != tt.want || ok && got != tt.of {
			t.Errorf("%d: %v, %t", i, got, ok)
		}
		for n, want := range tt.belongs {
			if got := belongs(tt.marks, n, tt.of); got != want {
				t.Errorf("%d: node %d belongs to the set: %t", i, n, got)
			}
		}
	}
}

// Of votes under two records that were in force one after another no quorum is made.
func TestSet_Reckon_NothingVotesForAWhileAfterAChangeOfRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bareCluster(time.Now(), 3)
		carry := func(r record) {
			for _, n := range c.nodes {
				m := carries(n.name, r)
				m.memory += r.set
				n.saw(m.String())
			}
			c.reckon()
		}
		carry(recordOf(c))
		if got := votes(c); slices.Contains(got, false) {
			t.Fatalf("votes are %v", got)
		}
		carry(newRecord(c.names(), []string{"1", "2", "3"}, 2))
		if got := votes(c); slices.Contains(got, true) || c.nodes[0].quarantined(time.Now()) != c.quarantine() {
			t.Errorf("votes are %v, and will be in %v, not %v", got, c.nodes[0].quarantined(time.Now()), c.quarantine())
		}
		time.Sleep(c.quarantine())
		if got := votes(c); slices.Contains(got, false) {
			t.Errorf("votes are %v when the quarantine is over", got)
		}
	})
}

// What a node keeps in files outlasts its process if they held all of it before and after.
// A memory lasts while the same server runs on with its own data; it outlasts a restart only of a server that shows that it has
// synced every write, and of the very node.
func TestWitness_AMemoryEndsWithARestartUnlessEveryWriteWasSynced(t *testing.T) {
	r := newRecord([]string{"a", "b", "c"}, []string{"aa", "bb", "cc"}, 2)
	at, now := stamp{1000, 1000}, stamp{1000 + 3_600_000, 1000 + 3_600_000}
	m := mark{memory: "m", state: stateSeen, run: "run", repl: "repl", begun: at, data: "d", since: at, id: "a", record: r, final: true}
	synced := m
	synced.synced = true
	young := synced
	young.begun = now
	leaving := synced
	leaving.record, leaving.was = record{set: r.set, epoch: 1, quorum: 2, names: "b,c"}, r
	w := witness{name: "a", record: r, id: "a", memory: "m", run: "run"}
	for _, tt := range []struct {
		name  string
		w     witness
		mark  mark
		s     server
		lasts bool
	}{
		{"it runs on", w, m, server{run: "run", repl: "repl"}, true},
		{"it runs on with another history, and never was a replica", w, m, server{run: "run", repl: "other"}, true},
		{"it was a replica meanwhile", w, m, server{run: "run", repl: "other", promoted: true}, false},
		{"it was one before", w, m, server{run: "run", repl: "repl", promoted: true}, true},
		{"it does not tell its run", w, m, server{}, true},
		{"it restarted", w, m, server{run: "new"}, false},
		{"it restarted, and syncs from now on", w, m, server{run: "new", syncs: true, whole: true}, false},
		{"it restarted, and synced before", w, synced, server{run: "new"}, false},
		{"it restarted, and always syncs", w, synced, server{run: "new", syncs: true, whole: true}, true},
		{"it restarted, and always syncs, while it is removed", w, leaving, server{run: "new", syncs: true, whole: true}, true},
		{"it restarted, always syncs, and does not say that it read all", w, synced, server{run: "new", syncs: true}, false},
		{"it restarted as a replica", w, synced, server{run: "new", syncs: true, whole: true, promoted: true}, false},
		{"it restarted before it voted", w, young, server{run: "new", syncs: true, whole: true}, false},
		{"another run was seen since", witness{name: "a", record: r, id: "a", memory: "m", run: "later"}, synced, server{run: "new", syncs: true, whole: true}, false},
		{"another memory was seen since", witness{name: "a", record: r, id: "a", memory: "later", past: map[string]bool{"m": true}}, synced, server{run: "new", syncs: true, whole: true}, false},
		{"it has the mark of another node", witness{name: "b", record: r, id: "b"}, synced, server{run: "new", syncs: true, whole: true}, false},
	} {
		tt.s.now = now
		got := tt.w.connected(tt.mark.String(), tt.s, trust{quarantine: time.Minute}, func() string { return "fresh" })
		if (got.memory == "m") != tt.lasts {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// A process that knew a node says so in the mark that somebody made who did not.
func TestWitness_ANodeItKnowsIsNotNewWhateverItsMarkSays(t *testing.T) {
	made := mark{memory: "m", state: stateNew, run: "run", data: "d"}
	for name, tt := range map[string]struct {
		w    witness
		want markState
	}{
		"knew it":       {witness{name: "a", memory: "other"}, stateSeen},
		"made the mark": {witness{name: "a", memory: "m"}, stateNew},
		"never met it":  {witness{name: "a"}, stateNew},
	} {
		if got := tt.w.connected(made.String(), server{run: "run"}, trust{}, rand.Text); got.state != tt.want || got.memory != "m" {
			t.Errorf("a process that %s writes %v", name, got)
		}
	}
}

func TestWitness_DataLastsAsLongAsFilesDo(t *testing.T) {
	began, restarted := stamp{1000, 1000}, stamp{2000, 2000}
	for _, tt := range []struct {
		name          string
		before, files bool // the server kept an append-only file
		run           string
		since         stamp
		drops         bool
	}{
		{"restarted with its file", true, true, "another", stamp{1, 1}, false},
		{"restarted with its file, and dropped parts of it", true, true, "another", restarted, true},
		{"restarted from a snapshot", false, false, "another", restarted, false},
		{"restarted from a snapshot, and keeps a file now", false, true, "another", restarted, false},
		{"restarted without the file", true, false, "another", restarted, false},
		{"keeps it now", false, true, "run", began, false},
		{"keeps it", true, true, "run", stamp{1, 1}, false},
	} {
		m := mark{memory: "m", state: stateSeen, run: "run", begun: began, data: "d", since: stamp{1, 1}, files: tt.before}
		got := (&witness{name: "a"}).connected(m.String(), server{run: tt.run, files: tt.files, drops: tt.drops, now: restarted}, trust{quarantine: time.Hour}, rand.Text)
		if got.since != tt.since || (got.data == "d") != (tt.since == m.since) || got.files != tt.files {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWitness_PlacesANodeByWhatItSawOrByItsNameNeverByElimination(t *testing.T) {
	r := newRecord([]string{"a", "b", "c"}, []string{"aa", "bb", "cc"}, 2)
	again := newRecord([]string{"a", "b", "c"}, []string{"a2", "b2", "c2"}, 2)
	other := newRecord([]string{"a", "b", "x"}, []string{"aa", "bb", "xx"}, 2)
	lost := mark{memory: "m", data: "d", state: stateNew, run: "run"}
	for _, tt := range []struct {
		name string
		w    witness
		mark mark
		want string
	}{
		{"by its name", witness{name: "c", record: r}, lost, "c"},
		{"by what was seen", witness{name: "alias", record: r, id: "c"}, lost, "c"},
		{"what was seen comes first", witness{name: "b", record: r, id: "c"}, lost, "c"},
		{"not at all", witness{name: "alias", record: r}, lost, ""},
		{"without a record in force", witness{name: "c"}, lost, ""},
		{"about to be bootstrapped", witness{name: "c", record: r, whole: true}, mark{memory: "m", state: stateNew, id: "c", record: r}, "c"},
		{"about to be bootstrapped, as it seems", witness{name: "c", record: r}, mark{memory: "m", state: stateNew, id: "c", record: r}, "c"},
		{"claimed by who knew it", witness{name: "c", record: r, whole: true}, mark{memory: "m", state: stateSeen, id: "c", record: r}, "c"},
		{"that of an earlier bootstrap", witness{name: "c", record: again}, carries("c", r), "c"},
		{"that of another set", witness{name: "c", record: r}, carries("x", other), "x"},
	} {
		n := 0
		got := tt.w.placed(tt.mark, stamp{}, func() string { n++; return "fresh" })
		if got.id != tt.want || got.id != "" && tt.name != "that of another set" && (got.record != tt.w.record || !got.final) {
			t.Errorf("%s: %v", tt.name, got)
		}
		if (got.state == stateRipe) != (tt.name == "about to be bootstrapped" || tt.name == "that of another set") {
			t.Errorf("%s: its state is %s", tt.name, got.state)
		}
		if renewed := got.memory != tt.mark.memory; renewed != (tt.name == "that of an earlier bootstrap") {
			t.Errorf("%s: its memory is %q", tt.name, got.memory)
		}
	}
}

func TestWitness_ACopyOfAnotherNodeKeepsItsOwnPlace(t *testing.T) {
	r := newRecord([]string{"a", "b", "c"}, []string{"aa", "bb", "cc"}, 2)
	copied := carries("b", r)
	copied.run = "b's"
	for _, w := range []witness{{name: "c", record: r, id: "c"}, {name: "c"}} {
		m := w.connected(copied.String(), server{run: "c's"}, trust{}, func() string { return "fresh" })
		if m.id != "c" || m.record != r || m.state != stateSeen || m.memory != "fresh" {
			t.Errorf("who knows %+v writes %v", w, m)
		}
	}
	alias := witness{name: "alias"}
	if m := alias.connected(copied.String(), server{run: "c's"}, trust{}, func() string { return "fresh" }); m.id != "" {
		t.Errorf("who cannot tell writes %v", m)
	}
}

// A master that was demoted has been told by the other what it knows, and its run is the same when it is master again.
func TestNode_Votes_NotAfterItReturnsToAnEarlierRun(t *testing.T) {
	n := bareCluster(time.Now(), 1).nodes[0]
	first := old(t, n, facts{runID: "a"})
	other := old(t, n, facts{runID: "b"})
	if other == first || !n.Votes() {
		t.Fatalf("another server that is old, with a memory of its own, does not vote")
	}
	if again := meet(t, n, facts{runID: "a"}, first); n.Votes() || again == first {
		t.Error("a memory that was superseded votes")
	}
	if meet(t, n, facts{runID: "a"}, other); n.Votes() {
		t.Error("a mark that another server had votes")
	}
}

// Without a mark nothing would show that a set that has restarted is not new.
func TestOpen_RefusesANodeThatCannotBeMarked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, admin *redis.Client) error
		want  string
	}{
		"the user may not": {func(t *testing.T, admin *redis.Client) error {
			return admin.Do(t.Context(), "acl", "setuser", "default", "resetkeys", "~lock:*").Err()
		}, "this user needs ~redlock:mark +get +set +eval"},
		"it is another's key": {func(t *testing.T, admin *redis.Client) error {
			return errors.Join(admin.Del(t.Context(), marks.Key).Err(), admin.RPush(t.Context(), marks.Key, "x").Err())
		}, "cannot be marked: redlock:mark: WRONGTYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Real(t, 3, redisserver.Options{})
			if err := tt.spoil(t, harness.Client(t, s, 1)); err != nil {
				t.Fatal(err)
			}
			c, err := tryOpen(t, Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for i, status := range c.Status() {
				if i != 1 != status.Up || !status.Up && !strings.Contains(status.Err.Error(), tt.want) {
					t.Errorf("node %d: %+v, want node 1 alone to be down, saying %q", i, status, tt.want)
				}
			}
		})
	}
}

// One to whom a server does not tell its run takes locks on it as well.
func TestOpen_WritesAMarkWithoutTheRightToInfo(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{})
	admin := harness.Client(t, s, 0)
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	may := func(rule string) {
		t.Helper()
		if err := admin.Do(t.Context(), "acl", "setuser", "default", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	may("-info")
	if !open(t, s).Nodes()[0].Votes() {
		t.Error("a server that does not tell its uptime does not vote")
	}
	may("+info")
	if open(t, s).Nodes()[0].Votes() {
		t.Error("a node on which locks may have been granted is taken for a new one")
	}
}
