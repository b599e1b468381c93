package machine

import (
	"fmt"
	"os"
	"time"
)

// used returns the sum of the scheduler's counts of the threads of this
// process. It is zero if the scheduler does not report them.
func used() (sum usage) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return usage{}
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited, times int64
		if _, err := fmt.Sscan(string(text), &ran, &waited, &times); err == nil {
			sum.ran += time.Duration(ran)
			sum.waited += time.Duration(waited)
			sum.times += times
		}
	}
	return sum
}
