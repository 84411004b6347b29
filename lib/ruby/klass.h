/* Class names, as Ruby prints them. */
#ifndef MEMPROF_RUBY_KLASS_H
#define MEMPROF_RUBY_KLASS_H

#include "ruby/ruby.h"

/*
 * What klass.inspect gives for the class that Object#class would: singleton classes and include
 * classes are skipped as Ruby does for an object's class; klass itself may be a Class object whose
 * own class is asked (its word is then #<Class:...>, whose real class is Class).
 * "Foo::Bar"; "#<Class:0x000...>" for one without a name (16 hex digits, as inspect prints).
 * *permanent is false when the name may still come (anonymous now). Returns 0, or -1 and e:
 * ERR_FAULT, ERR_BADDATA.
 */
int ruby_class_name(const struct ruby *rb, raddr_t klass, char *buf, size_t size, bool *permanent,
		    struct err *e);

/* Learn which instance variables hold the names of classes, from classes whose name is known: sets
 * rb->classpath_id and tmp_classpath_id. Returns 0, or -1 and e: ERR_FAULT, ERR_BADDATA. */
int ruby_classpath_learn(struct ruby *rb, struct err *e);

#endif
