package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitecture: what docs/architecture.md names in a code block or between backticks exists: functions,
// methods and fields (pkg.Name, Type.Name, pkg.Type.Name), files and directories.
func TestArchitecture(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := namesOfSource(t)
	named := regexp.MustCompile(`[A-Za-z_]\w*(\.[A-Za-z]\w*)+`)
	path := regexp.MustCompile(`^[a-z][\w.-]*(/[\w.-]+)+/?$`)
	count := 0
	for i, code := range strings.Split(string(page), "`") {
		if i%2 == 0 { // between two pieces of code
			continue
		}
		if path.MatchString(code) && !strings.Contains(code, "NAME") {
			count++
			if _, err := os.Stat(filepath.Join(root, code)); err != nil {
				t.Errorf("docs/architecture.md names %s: %v", code, err)
			}
			continue
		}
		for _, name := range named.FindAllString(code, -1) {
			count++
			if !known[name] {
				t.Errorf("docs/architecture.md names %s, which does not exist", name)
			}
		}
	}
	if count < 60 {
		t.Errorf("docs/architecture.md names %d things", count)
	}
}

// namesOfSource returns what the programs' source declares, as pkg.Name, Type.Name and pkg.Type.Name, and the
// names of files.
func namesOfSource(t *testing.T) map[string]bool {
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		known[entry.Name()] = true
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, name := range declared(file) {
			known[name] = true
			known[file.Name.Name+"."+name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// declared returns the names that a file declares, those of methods and fields as Type.Name.
func declared(file *ast.File) (names []string) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if ident, ok := receiver.(*ast.Ident); ok {
					name = ident.Name + "." + name
				}
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, name := range s.Names {
						names = append(names, name.Name)
					}
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
					for _, member := range members(s.Type) {
						names = append(names, s.Name.Name+"."+member)
					}
				}
			}
		}
	}
	return names
}

// members returns the names of a struct's fields and of an interface's methods.
func members(of ast.Expr) (names []string) {
	var list *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		list = of.Fields
	case *ast.InterfaceType:
		list = of.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}
