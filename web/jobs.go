package web

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// maxJobs is how many finished jobs the page shows, the last first.
const maxJobs = 100

// The keys of elections and jobs begin so; see package lease, "Names".
const (
	electionPrefix = "election:"
	jobPrefix      = "once:"
)

// jobsDoc is the page of elections and jobs.
type jobsDoc struct {
	frame
	Elections []electionRow `json:"elections"`
	Running   []electionRow `json:"running"` // jobs of RunOnce
	Done      []jobRow      `json:"done"`
	Total     int           `json:"done_total"`

	Checkpoints      []*checkpointRow `json:"checkpoints"`
	TotalCheckpoints int              `json:"checkpoints_total"`
}

// electionRow is an election with a leader, or a job that is running.
type electionRow struct {
	Name string `json:"name"`
	lockRow
}

// jobRow is a job that is done.
type jobRow struct {
	Job   string    `json:"job"`
	Owner string    `json:"owner"`
	Token int64     `json:"token"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	now   time.Time
}

// Ago is when the job was done.
func (j jobRow) Ago() string { return ago(j.Ended, j.now) + " ago" }

// Took is how long the job ran.
func (j jobRow) Took() string { return span(j.Ended.Sub(j.Began)) }

// jobsPage shows who leads, which jobs run, and which are done.
func (h *Handler) jobsPage(v visit) (document, error) {
	p := h.survey.fresh(v.ctx, func(p *picture) []time.Time {
		return []time.Time{p.nodes.due, p.locks.due, p.jobs.due, p.checkpoints.due}
	})
	d := &jobsDoc{frame: h.frame(p, time.Now()), Elections: []electionRow{}, Running: []electionRow{}, Done: []jobRow{},
		Checkpoints: []*checkpointRow{}, TotalCheckpoints: p.checkpoints.value.total}
	cover(&d.frame, p.checkpoints, "checkpoints")
	cover(&d.frame, p.jobs, "jobs that are done")
	cover(&d.frame, p.locks, "elections")
	for n := range p.locks.value {
		i := &p.locks.value[n]
		if i.State == lock.Partial {
			continue
		}
		if name, ok := strings.CutPrefix(i.Key, electionPrefix); ok {
			d.Elections = append(d.Elections, electionRow{name, rowOf(i, p.held, d.now, listedParts)})
		}
		if name, ok := strings.CutPrefix(i.Key, jobPrefix); ok {
			d.Running = append(d.Running, electionRow{name, rowOf(i, p.held, d.now, listedParts)})
		}
	}
	for _, c := range p.checkpoints.value.all {
		d.Checkpoints = append(d.Checkpoints, c.row(d.now))
	}
	done := slices.Clone(p.jobs.value)
	slices.SortStableFunc(done, func(a, b lease.Outcome) int { return cmp.Compare(b.Ended.UnixMicro(), a.Ended.UnixMicro()) })
	d.Total = len(done)
	for _, o := range done[:min(len(done), maxJobs)] {
		d.Done = append(d.Done, jobRow{o.Job, o.Owner, o.Token, o.Began, o.Ended, d.now})
	}
	return d, nil
}

// terms is a table of holders.
type terms struct {
	Rows                 []electionRow
	Label, Holder, Waits string
}

// Leading is the table of leaders.
func (d *jobsDoc) Leading() terms {
	return terms{d.Elections, "elections-title", "Leader", "Candidates"}
}

// Working is the table of jobs that run.
func (d *jobsDoc) Working() terms { return terms{d.Running, "running-title", "Runs it", "Waiting"} }

// MoreCheckpoints is how many checkpoints are not shown.
func (d *jobsDoc) MoreCheckpoints() int { return d.TotalCheckpoints - len(d.Checkpoints) }

// Older is how many finished jobs are not shown.
func (d *jobsDoc) Older() int { return d.Total - len(d.Done) }
