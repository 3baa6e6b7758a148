package spelling

import "strings"

// Nearest returns the candidate that name was probably meant to be: the same in other letter case, or with
// one or two letters wrong, missing, added or swapped (in short names fewer); "" when there is none, or when
// name is one of them.
func Nearest(name string, candidates []string) string {
	best, least := "", min(3, 1+len(name)/3)
	for _, candidate := range candidates {
		if name == candidate {
			return ""
		}
		if d := distance(strings.ToUpper(name), strings.ToUpper(candidate), least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance (adjacent letters swapped count as one), or limit when it is
// that much or more.
func distance(a, b string, limit int) int {
	if diff := len(a) - len(b); diff >= limit || -diff >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
